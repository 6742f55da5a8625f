//! `ringway completions`: what makes a shell complete commands, options and their values.

use super::print;
use crate::Error;
use clap::Args;
use clap_complete::Shell;
use std::process::ExitCode;

pub(crate) const EXAMPLES: &str = "\
Examples:
  ringway completions bash > ~/.local/share/bash-completion/completions/ringway
  ringway completions zsh > /usr/local/share/zsh/site-functions/_ringway
  ringway completions fish > ~/.config/fish/completions/ringway.fish

A shell reads them when it is started the next time.";

/// The options of `ringway completions`.
#[derive(Args, Clone, Copy, Debug)]
pub struct CompletionsOptions {
    /// The shell
    shell: Shell,
}

/// Prints the completions.
///
/// # Errors
/// When they can't be written.
pub fn run(options: CompletionsOptions) -> Result<ExitCode, Error> {
    print(&script(options.shell))?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::command(), "ringway", &mut script);
    // The shells' languages have no other letters than those of the help texts.
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_shell_learns_commands_options_and_values() {
        for &shell in Shell::value_variants() {
            let script = script(shell);
            for part in ["ringway", "forward", "snap-length", "serve"] {
                assert!(script.contains(part), "{shell}: {part}");
            }
        }
        assert!(script(Shell::Bash).contains("source-port"), "values of --vary");
    }
}
