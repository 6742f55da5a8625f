//! `ringway capture`: what a port receives, into capture files.

use super::lines::Lines;
use super::one_port::OnePort;
use super::{print_summary, running};
use crate::Error;
use crate::cli::CaptureOptions;
use crate::engine::{Outcome, Reception, Sample, StoppedBy};
use crate::output::csv::Rows;
use crate::output::live::Live;
use crate::output::rates::grouped;
use crate::output::{Console, Say};
use crate::tasks::capturing::{Captured, Capturing};
use ringway_port::Information;
use ringway_traffic::capture::{RotatingWriter, Rotation};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::ExitCode;

/// What a run came to: the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
struct Summary {
    port: String,
    driver: &'static str,
    /// Packets and bytes that the port received; bytes are without FCS.
    received_packets: u64,
    received_bytes: u64,
    /// Packets that are in the files, with what was kept of them in bytes.
    written_packets: u64,
    written_bytes: u64,
    files: u64,
    /// Packets that the disk was too slow for.
    dropped: u64,
    /// Packets that --match leaves out.
    left_out: u64,
    /// Packets that the device had no receive buffer for; null where it doesn't count them.
    missed: Option<u64>,
    seconds: f64,
    stopped_by: StoppedBy,
    errors: Vec<String>,
}

/// Captures until something ends it.
///
/// # Errors
/// When the file can't be made, the port can't be opened, or either fails on the way.
pub fn run(options: &CaptureOptions) -> Result<ExitCode, Error> {
    let _reader = reader_of_pipe(&options.write, Console::new(options.run.output))?;
    let (mut port, (receive, transmit)) = OnePort::open(options.port, &options.run, Reception::Everything)?;
    let (console, info) = (port.console, port.information().clone());
    // A file is made only where there is something to capture.
    let rotation = Rotation { bytes: options.rotate_size, time: options.rotate_time };
    let writer = RotatingWriter::create(&options.write, &[&info.name], rotation)?;
    let (task, mut capture) = Capturing::start(
        receive,
        options.run.batch.into(),
        options.snap_length as usize,
        options.matching.clone(),
        writer,
    )
    .map_err(Error::System)?;
    console.note("times are those of this machine's clock when packets were received: the port stamps none");
    console.note(format_args!(
        "capturing {}on {} into {}; {}",
        options.matching.as_ref().map(|matching| format!("{matching} ")).unwrap_or_default(),
        options.port,
        options.write.display(),
        running::how_to_end(options.run.duration, options.run.packets, "captured")
    ));
    let mut failure = None;
    let live = port.live("capture on", None);
    let outcome = port.run(Box::new(task), true, |up| {
        let (capture, failure, filters) = (&capture, &mut failure, options.matching.is_some());
        Lines::of(up, live, move |sample: &Sample, live: &mut Live| {
            let Captured { written, dropped, left_out, files, .. } = capture.read();
            let left_out = if filters { format!("  left out {}", grouped(left_out)) } else { String::new() };
            let (written, dropped) = (grouped(written), grouped(dropped));
            live.tell(sample, &format!("written {written}  dropped {dropped}{left_out}  files {files}"));
            if let Some(error) = capture.failure() {
                live.warn(format_args!("{error}; what comes from now on is counted as dropped"));
                *failure = Some(error);
            }
        })
    })?;
    drop(transmit);
    capture.finish(outcome.last.ports.first().and_then(|port| port.statistics.missed));
    failure = failure.or(capture.failure());
    port.leave();
    let summary = summary(&outcome, &info, capture.read(), failure.as_ref());
    print_summary(options.run.output, &summary, Rows::One, Summary::text)?;
    if !outcome.failures.is_empty() {
        return Err(Error::Failed(outcome.failures));
    }
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(super::status(summary.is_lossless())),
    }
}

/// Waits until somebody reads what is written, if that is a pipe: no port is open yet, and Ctrl-C still ends the program.
fn reader_of_pipe(path: &Path, console: Console) -> Result<Option<File>, Error> {
    if !std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Ok(None);
    }
    console.note(format_args!("{} is a pipe: waiting until somebody reads it", path.display()));
    let pipe = OpenOptions::new().write(true).open(path);
    let failed = |source| ringway_traffic::capture::Error::Open { path: path.to_owned(), source };
    Ok(Some(pipe.map_err(failed)?))
}

fn summary(
    outcome: &Outcome,
    info: &Information,
    captured: Captured,
    failure: Option<&ringway_traffic::capture::Error>,
) -> Summary {
    let port = outcome.last.ports.first();
    let received = port.map(|port| port.statistics.received()).unwrap_or_default();
    let errors = outcome.failures.iter().map(ToString::to_string);
    Summary {
        port: info.name.clone(),
        driver: info.driver,
        received_packets: received.packets,
        received_bytes: received.bytes,
        written_packets: captured.written,
        written_bytes: captured.bytes,
        files: captured.files,
        dropped: captured.dropped,
        left_out: captured.left_out,
        missed: port.and_then(|port| port.statistics.missed),
        seconds: outcome.seconds,
        stopped_by: outcome.stopped_by,
        errors: errors.chain(failure.map(ToString::to_string)).collect(),
    }
}

impl Summary {
    /// Whether all that came is in the files, or was left out as asked.
    fn is_lossless(&self) -> bool {
        self.dropped == 0 && self.missed.unwrap_or_default() == 0
    }

    fn text(&self) -> String {
        let left_out = match self.left_out {
            0 => String::new(),
            packets => format!(", left out by --match {}", grouped(packets)),
        };
        format!(
            "{}: received {} packets in {:.2} s, written {} ({} bytes) into {} file{}{left_out}; dropped {}, missed by the card {}; ended by {}\n",
            self.port,
            grouped(self.received_packets),
            self.seconds,
            grouped(self.written_packets),
            grouped(self.written_bytes),
            self.files,
            if self.files == 1 { "" } else { "s" },
            grouped(self.dropped),
            self.missed.map_or_else(|| "(not counted)".to_owned(), grouped),
            self.stopped_by,
        )
    }
}
