//! `unbind`: gives functions back to their drivers.

use std::process::ExitCode;

use ringway_pci::bind::{UnbindRequest, exclusively, plan_unbind};
use ringway_pci::kernel::Kernel;

use super::{Context, Failure, say};

/// Arguments of `unbind`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Functions to give back [default: all that were bound]
    #[arg(value_name = "ADDRESS")]
    functions: Vec<String>,
    /// Remove what makes the binding survive reboots and logins, too
    #[arg(long)]
    persist: bool,
    /// Give them to this driver in place of the one that was there
    #[arg(short = 'b', long, value_name = "DRIVER")]
    driver: Option<String>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Arguments {
    pub(super) fn run(&self, kernel: &dyn Kernel, context: &Context) -> Result<ExitCode, Failure> {
        let request = UnbindRequest {
            functions: self.functions.clone(),
            driver: self.driver.clone(),
            persist: self.persist,
        };
        let plan = plan_unbind(kernel, &request)?;
        if self.dry_run {
            for step in plan.steps() {
                say(format_args!("would {step}"))?;
            }
            plan.notes().iter().try_for_each(say)?;
            return Ok(ExitCode::SUCCESS);
        }
        context.elevation.require_root(kernel, None)?;
        let _others = exclusively(kernel)?;
        // Others may have changed what was planned with.
        let outcome = plan_unbind(kernel, &request)?.carry_out(kernel)?;
        outcome.done.iter().try_for_each(say)?;
        outcome.notes.iter().try_for_each(say)?;
        Ok(ExitCode::SUCCESS)
    }
}
