//! `doctor`: whether this machine is fit for Ringway; the exit status says so too.

use std::process::ExitCode;

use ringway_pci::doctor::{Check, Diagnosis, Needs, Verdict, examine};
use ringway_pci::kernel::Kernel;

use super::{Context, Failure, say, size};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The memory that pools and rings are to take: bytes, or with K, M, G [default: what two ports take by default]
    #[arg(long, value_name = "SIZE", value_parser = size::bytes)]
    memory: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(&self, kernel: &dyn Kernel, context: &Context) -> Result<ExitCode, Failure> {
        let needs = Needs { memory: self.memory.unwrap_or(context.memory), supported: context.supported };
        let diagnosis = examine(kernel, &needs);
        if self.json {
            say(serde_json::to_string_pretty(&diagnosis)?)?;
        } else {
            say(context.said(&report(&diagnosis)))?;
        }
        Ok(if diagnosis.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn report(diagnosis: &Diagnosis) -> String {
    let width = diagnosis.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut lines: Vec<String> = diagnosis.checks.iter().flat_map(|check| lines(check, width)).collect();
    let failures = diagnosis.checks.iter().filter(|check| check.verdict == Verdict::Failure).count();
    lines.push(match failures {
        0 => "Ringway can run here.".to_owned(),
        1 => "Ringway can't drive a NIC here: one check failed.".to_owned(),
        _ => format!("Ringway can't drive a NIC here: {failures} checks failed."),
    });
    lines.join("\n")
}

fn lines(check: &Check, width: usize) -> Vec<String> {
    let word = match check.verdict {
        Verdict::Good => "ok  ",
        Verdict::Hint => "hint",
        Verdict::Warning => "WARN",
        Verdict::Failure => "FAIL",
    };
    let mut lines = vec![format!("{word}  {:width$}  {}", check.name, check.finding)];
    lines.extend(check.mend.iter().map(|mend| format!("      {:width$}  -> {mend}", "")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_followed_by_what_mends_it_and_the_verdict_stands_last() {
        let check = |name, verdict, mend: Option<&str>| Check {
            name,
            verdict,
            finding: "found".to_owned(),
            mend: mend.map(str::to_owned),
        };
        let diagnosis = Diagnosis {
            ready: false,
            checks: vec![
                check("IOMMU", Verdict::Good, None),
                check("vfio-pci", Verdict::Failure, Some("do this")),
            ],
        };
        assert_eq!(
            report(&diagnosis),
            "\
ok    IOMMU     found
FAIL  vfio-pci  found
                -> do this
Ringway can't drive a NIC here: one check failed."
        );
    }
}
