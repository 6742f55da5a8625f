//! `bind`: takes functions from the kernel, once, as root.

use std::process::ExitCode;

use ringway_pci::bind::{BindRequest, exclusively, plan_bind};
use ringway_pci::kernel::Kernel;

use super::elevation::user_behind;
use super::size::{self, Limit};
use super::{Context, Failure, say, status};

/// Arguments of `bind`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Functions to take: addresses (0000:03:00.0 or 03:00.0) or network interfaces
    #[arg(value_name = "ADDRESS", required_unless_present = "status")]
    functions: Vec<String>,
    /// The user who is to drive them, by name or number [default: who runs this, or who ran sudo]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Make it survive reboots and logins
    #[arg(long)]
    persist: bool,
    /// Take the whole IOMMU group of each function
    #[arg(long)]
    group: bool,
    /// Take a function though the machine uses it
    #[arg(long)]
    force: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// How much memory the user is to be able to lock, at least: bytes, or with K, M, G, or "unlimited"
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = size::limit)]
    memlock: Limit,
    /// The driver to bind to; there is one, and so this can be left out
    #[arg(short = 'b', long, value_name = "DRIVER", default_value = "vfio-pci")]
    driver: String,
    /// List the network functions, as `status` does
    #[arg(short, long)]
    status: bool,
}

impl Arguments {
    pub(super) fn run(&self, kernel: &dyn Kernel, context: &Context) -> Result<ExitCode, Failure> {
        if self.status {
            return status::Arguments::default().run(kernel, context);
        }
        // The module is spelt with either sign.
        if self.driver.replace('_', "-") != "vfio-pci" {
            return Err(Failure::OtherDriver { driver: self.driver.clone() });
        }
        let user = self.user.clone().or_else(|| user_behind(kernel));
        let request = BindRequest {
            functions: self.functions.clone(),
            user: user.clone(),
            persist: self.persist,
            group: self.group,
            force: self.force,
            memlock: self.memlock.0,
        };
        // Planned before root is asked for: what is refused needs no password.
        let plan = plan_bind(kernel, &request)?;
        if self.dry_run {
            for step in plan.steps() {
                say(format_args!("would {step}"))?;
            }
            plan.notes().iter().try_for_each(say)?;
            return Ok(ExitCode::SUCCESS);
        }
        context.elevation.require_root(kernel, user.as_deref())?;
        let _others = exclusively(kernel)?;
        // Others may have changed what was planned with.
        let plan = plan_bind(kernel, &request)?;
        let functions: Vec<String> = plan.functions().iter().map(ToString::to_string).collect();
        let outcome = plan.carry_out(kernel)?;
        outcome.done.iter().try_for_each(say)?;
        outcome.notes.iter().try_for_each(|note| say(context.said(note)))?;
        let standing = if outcome.done.is_empty() { "bound as asked already" } else { "bound" };
        say(format_args!("{}: {standing}", functions.join(", ")))?;
        Ok(ExitCode::SUCCESS)
    }
}
