//! The command line: what can be asked for, in the words of the help texts.
//!
//! Contract: parsing checks what can be checked without the machine, so that a wrong number is a usage error. What
//! the options do is in [`commands`](crate::commands).

mod capture;
mod echo;
mod flows;
mod forward;
mod queues;
mod run;
mod steering;
mod traffic;
mod values;

pub use capture::{CaptureOptions, ReplayOptions};
pub use echo::{EchoOptions, HostAddress};
pub use flows::{By, FlowsOptions, Source};
pub(crate) use forward::{BATCH, RING_SIZE};
pub use forward::{
    DemonstrationOptions, EmulateArgument, EmulationArguments, ForwardOptions, LatencyOptions, OutputOptions,
    Retouch, RingOptions, SourceArguments, WhenFullArgument,
};
pub use queues::QueueOptions;
pub use run::RunOptions;
pub use steering::{Key, SteeringOptions};
pub use traffic::{GenerateOptions, PacketArguments, ReceiveOptions};
pub use values::{Devices, Lengths, PerPort, RateArgument};

use crate::commands::ports::PortsOptions;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// What every help text ends with.
const EXIT_STATUS: &str = "\
Exit status:
    0  it ended as asked: a signal, a duration, a number of packets
    1  an error, named on standard error: no such port, no rights, a port lost, …
    2  the command line is wrong
    3  packets were lost or spoiled: between emulated ports, or of those that a receiver follows
  101  a worker panicked (a mistake in Ringway); the ports were given back";

/// The same for `echo`.
const ECHO_EXIT_STATUS: &str = "\
Exit status: 0, it ended as asked; 1, an error; 2, the command line is wrong; 3, answers were lost.";

/// The same for `flows`.
const FLOWS_EXIT_STATUS: &str = "\
Exit status: 0, it ended as asked; 1, an error; 2, the command line is wrong; 3, a port missed packets.";

const MAIN_EXAMPLES: &str = "\
Examples:
  ringway                                    try it: two emulated network cards, no root needed
  ringway ports                              what is there, and what of it can be used
  ringway echo 0000:03:00.0 --address 10.0.0.1  answer pings: the first thing to try on a new card
  ringway forward 0000:03:00.0 0000:03:00.1  every frame from each port to the other";

/// The command line of `ringway`.
#[derive(Debug, Parser)]
#[command(
    name = "ringway",
    version,
    about = "Drives network cards from user space, and forwards packets between them",
    long_about = "Drives network cards from user space, and forwards packets between them.\n\n\
        Without a command it forwards for a few seconds between two emulated network cards, each with a built-in source \
        of packets, and tells whether every packet arrived.",
    after_help = format!("{MAIN_EXAMPLES}\n\n{EXIT_STATUS}"),
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub struct CommandLine {
    /// What to do; nothing: the demonstration.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The demonstration's options.
    #[command(flatten)]
    pub demonstration: DemonstrationOptions,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Forward every frame from each of two ports to the other
    #[command(after_help = format!("{}\n\n{EXIT_STATUS}", forward::EXAMPLES))]
    Forward(Box<ForwardOptions>),
    /// Write what a port receives into capture files
    #[command(after_help = format!("{}\n\n{EXIT_STATUS}", capture::CAPTURE_EXAMPLES))]
    Capture(Box<CaptureOptions>),
    /// Send the packets of a capture file
    #[command(after_help = format!("{}\n\n{EXIT_STATUS}", capture::REPLAY_EXAMPLES))]
    Replay(Box<ReplayOptions>),
    /// Send packets of any shape, numbered and stamped
    #[command(after_help = format!("{}\n\n{EXIT_STATUS}", traffic::GENERATE_EXAMPLES))]
    Generate(Box<GenerateOptions>),
    /// Find out what became of numbered packets, and how long they took
    #[command(after_help = format!("{}\n\n{EXIT_STATUS}", traffic::RECEIVE_EXAMPLES))]
    Receive(Box<ReceiveOptions>),
    /// Answer pings on a port: the first thing to try on a new network card
    #[command(after_help = format!("{}\n\n{ECHO_EXIT_STATUS}", echo::EXAMPLES))]
    Echo(Box<EchoOptions>),
    /// Tell who talks to whom, on ports or in a capture file
    #[command(after_help = format!("{}\n\n{FLOWS_EXIT_STATUS}", flows::EXAMPLES))]
    Flows(Box<FlowsOptions>),
    /// List the ports that can be used, and why the others can't
    #[command(after_help = crate::commands::ports::EXAMPLES)]
    Ports(PortsOptions),
    /// Emulate a network card for virtual machines
    #[command(subcommand, after_help = crate::commands::model::EXAMPLES)]
    Model(crate::commands::model::ModelCommand),
    /// Print what makes a shell complete commands and options
    #[command(after_help = crate::commands::completions::EXAMPLES)]
    Completions(crate::commands::completions::CompletionsOptions),
    /// Binding, and what the machine has.
    #[command(flatten)]
    Binding(crate::binding::Command),
}

/// Examples for the commands whose arguments other programs share.
const BINDING_EXAMPLES: [(&str, &str); 4] = [
    ("bind", "Example:\n  sudo ringway bind 0000:03:00.0 0000:03:00.1 --user $USER"),
    ("unbind", "Example:\n  sudo ringway unbind 0000:03:00.0 0000:03:00.1"),
    ("status", "Examples:\n  ringway status\n  ringway status --json"),
    ("doctor", "Examples:\n  ringway doctor\n  ringway doctor --memory 1G"),
];

/// The whole command line: what is parsed, and what completions and manual pages are made from.
pub fn command() -> clap::Command {
    BINDING_EXAMPLES.into_iter().fold(CommandLine::command(), |command, (name, examples)| {
        command.mut_subcommand(name, |command| command.after_help(examples))
    })
}

/// Reads the arguments of this process. With a wrong one, or for a help text, the process ends here.
pub fn parse() -> CommandLine {
    let mut matches = command().get_matches();
    CommandLine::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::error::ErrorKind;

    fn forward(arguments: &[&str]) -> Result<ForwardOptions, clap::Error> {
        let all = ["ringway", "forward"].iter().chain(arguments);
        match CommandLine::try_parse_from(all)?.command {
            Some(Command::Forward(options)) => Ok(*options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent_and_every_help_text_has_an_example() {
        let mut command = command();
        command.clone().debug_assert();
        command.build();
        let mut seen = Vec::new();
        each_has_an_example(&mut command, &mut seen);
        for name in ["ringway", "ringway flows", "ringway completions", "ringway model serve", "ringway bind"]
        {
            assert!(seen.iter().any(|seen| seen == name), "{name} in {seen:?}");
        }
    }

    /// A command's own, by its name, and those of the commands below it.
    fn each_has_an_example(command: &mut clap::Command, seen: &mut Vec<String>) {
        let help = command.render_long_help().to_string();
        let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
        let after = help.split_once("Example").map(|(_, after)| after).unwrap_or_default();
        assert!(after.contains(&name), "{name} in {help}");
        seen.push(name);
        command.get_subcommands_mut().for_each(|below| each_has_an_example(below, seen));
    }

    #[test]
    fn two_ports_are_enough_and_the_rest_has_defaults() {
        let options = forward(&["03:00.0", "emulated:1"]).unwrap();
        assert_eq!(options.a.to_string(), "0000:03:00.0");
        assert_eq!(options.b.to_string(), "emulated:1");
        assert_eq!((options.batch, options.rings.receive(), options.rings.transmit()), (32, 512, 512));
        assert_eq!((options.duration, options.packets, options.when_full), (None, None, None));
        assert!(options.cores.is_empty());
    }

    #[test]
    fn a_ring_size_is_for_both_rings_unless_one_has_its_own() {
        let options = forward(&["emulated:0", "emulated:1", "--ring-size", "64"]).unwrap();
        assert_eq!((options.rings.receive(), options.rings.transmit()), (64, 64));
        let options =
            forward(&["emulated:0", "emulated:1", "--ring-size", "64", "--transmit-ring", "1024"]).unwrap();
        assert_eq!((options.rings.receive(), options.rings.transmit()), (64, 1024));
    }

    #[test]
    fn numbers_out_of_range_are_usage_errors_that_name_the_range() {
        for (option, value, hint) in [
            ("--batch", "0", "1..=256"),
            ("--batch", "257", "1..=256"),
            ("--ring-size", "100", "power of two"),
            ("--receive-ring", "65536", "power of two"),
            ("--packets", "0", "1.."),
            ("--duration", "-1", "seconds"),
            ("--duration", "0", "seconds"),
            ("--duration", "nan", "seconds"),
            ("--interval", "1h2", "seconds"),
            ("--cores", "x", "numbers of processors"),
            ("--source-mac", "own", "02:00:00:00:00:01"),
            ("--destination-mac", "01:00:5e:00:00", "02:00:00:00:00:01"),
            ("--buffer-size", "1024", "2048"),
            ("--pool", "0", "1.."),
            ("--rate", "0pps", "500kpps"),
            ("--rate", "2", "500kpps"),
            ("--emulate", "e1000", "virtio-net"),
        ] {
            let argument = format!("{option}={value}");
            let error = forward(&["emulated:0", "emulated:1", &argument]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(hint), "{argument}: {error}");
        }
    }

    #[test]
    fn times_are_seconds_unless_they_say_otherwise() {
        for (text, milliseconds) in
            [("2", 2000), ("0.5", 500), ("250ms", 250), ("1.5s", 1500), ("2m", 120_000), ("1h", 3_600_000)]
        {
            let options = forward(&["emulated:0", "emulated:1", "--duration", text]).unwrap();
            assert_eq!(options.duration.unwrap().as_millis(), milliseconds, "{text}");
        }
    }

    #[test]
    fn addresses_can_be_given_for_each_port() {
        let options = forward(&[
            "emulated:0",
            "emulated:1",
            "--rewrite-mac",
            "--destination-mac",
            "02:00:00:00:00:0a,02:00:00:00:00:0b",
        ])
        .unwrap();
        assert!(options.rewrite_mac);
        let addresses = options.destination_mac.unwrap();
        assert_eq!(addresses.b.to_string(), "02:00:00:00:00:0b");
        let one = forward(&["emulated:0", "emulated:1", "--source-mac", "02:00:00:00:00:0a"]).unwrap();
        assert!(one.source_mac.is_some_and(|both| both.a == both.b));
        assert!(
            forward(&["emulated:0", "emulated:1", "--rewrite-mac", "--source-mac", "02:00:00:00:00:01"])
                .is_err()
        );
    }

    #[test]
    fn emulated_devices_are_one_for_both_ports_or_one_for_each_wherever_the_option_stands() {
        use crate::ports::Kind;
        let one = forward(&["--emulate", "virtio-net", "emulated:0", "emulated:1"]).unwrap();
        assert_eq!(one.emulation.emulate.devices, Some(Devices(vec![Kind::VirtioNet])));
        let two = forward(&["emulated:0", "emulated:1", "--emulate", "82599,virtio-net"]).unwrap();
        let devices = Devices(vec![Kind::default(), Kind::VirtioNet]);
        assert_eq!(two.emulation.emulate.devices, Some(devices));
        assert_eq!(two.emulation.given(), Some("--emulate"));
    }

    #[test]
    fn without_a_command_the_demonstration_takes_its_options() {
        let line = CommandLine::try_parse_from(["ringway", "--duration", "1", "--json"]).unwrap();
        assert!(line.command.is_none() && line.demonstration.output.json);
        let error = CommandLine::try_parse_from(["ringway", "--json", "ports"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let help = CommandLine::try_parse_from(["ringway", "--help"]).unwrap_err();
        assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
        assert!(help.to_string().contains("101  a worker panicked"));
    }
}
