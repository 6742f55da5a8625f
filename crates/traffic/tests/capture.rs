//! Capture files: what is written is read, and what is none is refused.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use ringway_traffic::capture::{Counts, Error, Reader, Writer};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn frames(path: &Path) -> Result<Vec<(Duration, u32, Vec<u8>)>, Error> {
    let mut reader = Reader::open(path)?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_whole()? {
        frames.push((frame.time, frame.interface, frame.bytes.into_owned()));
    }
    Ok(frames)
}

fn file(folder: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("file.pcap");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A pcap file as tcpdump writes it, with one frame of 60 bytes: by hand, from the format's description.
fn pcap(magic: u32, link: u32, fraction: u32, captured: u32, length: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(magic.to_le_bytes());
    bytes.extend([2, 0, 4, 0]);
    bytes.extend([0; 8]);
    for word in [262_144, link, 1_700_000_000, fraction, captured, length] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend((0..captured).map(|byte| byte as u8));
    bytes
}

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const ETHERNET: u32 = 1;

#[test]
fn frames_come_back_with_their_bytes_times_and_interfaces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.pcapng");
    let mut writer = Writer::create(&path, &["emulated:0", "0000:03:00.0"]).unwrap();
    let expected: Vec<(Duration, u32, Vec<u8>)> = (0u8..200)
        .map(|number| {
            let time = Duration::new(1_700_000_000, 123_456_700 + u32::from(number));
            (time, u32::from(number % 2), vec![number; 60 + usize::from(number)])
        })
        .collect();
    for (time, interface, bytes) in &expected {
        writer.write(*interface, *time, bytes).unwrap();
    }
    writer.flush().unwrap();
    assert_eq!(frames(&path).unwrap(), expected);
    drop(writer);
    assert_eq!(frames(&path).unwrap(), expected);
}

#[test]
fn files_of_tcpdump_are_read_in_both_resolutions() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..60).collect();
    for (magic, nanoseconds) in [(MICROSECONDS, 5_000), (NANOSECONDS, 5)] {
        let path = file(&folder, &pcap(magic, ETHERNET, 5, 60, 60));
        let time = Duration::new(1_700_000_000, nanoseconds);
        assert_eq!(frames(&path).unwrap(), [(time, 0, bytes.clone())]);
    }
}

#[test]
fn what_cannot_be_played_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let whole = pcap(MICROSECONDS, ETHERNET, 0, 60, 60);
    for (bytes, expected) in [
        (pcap(MICROSECONDS, 113, 0, 60, 60), "not Ethernet"),
        (pcap(MICROSECONDS, ETHERNET, 0, 60, 90), "frame 1 has 60 of its 90 bytes"),
        (whole[..70].to_vec(), "no capture file that can be read on from frame 0"),
        (b"<html>".to_vec(), "no capture file"),
        (Vec::new(), "no capture file"),
    ] {
        let message = frames(&file(&folder, &bytes)).unwrap_err().to_string();
        assert!(message.contains("file.pcap") && message.contains(expected), "{message}");
    }
    let message = frames(&file(&folder, &whole[..70])).unwrap_err().to_string();
    assert!(message.contains("end of file"), "with the cause: {message}");
    for path in [folder.path(), Path::new("/dev/null")] {
        let message = Reader::open(path).unwrap_err().to_string();
        assert!(message.contains("no regular file"), "{message}");
    }
    let message = Reader::open(&folder.path().join("none.pcap")).unwrap_err().to_string();
    assert!(message.contains("none.pcap") && message.contains("No such file"), "{message}");
    let message = Writer::create(Path::new("/proc/none/out.pcapng"), &[]).unwrap_err().to_string();
    assert!(message.contains("/proc/none/out.pcapng"), "{message}");
}

#[test]
fn a_file_is_a_capture_file_from_the_start_and_a_full_disk_is_known_of_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.pcapng");
    let writer = Writer::create(&path, &["card"]).unwrap();
    assert_eq!(frames(&path).unwrap(), []);
    drop(writer);
    let message = Writer::create(Path::new("/dev/full"), &["card"]).unwrap_err().to_string();
    assert!(message.contains("/dev/full can't be written"), "{message}");
}

#[test]
fn packet_blocks_of_old_files_are_packets_too() {
    // draft-ietf-opsawg-pcapng, sections 4.1 and 4.2, and appendix A for what is obsolete.
    let block = |kind: u32, body: &[u8]| {
        let length = (body.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &length, body, &length].concat()
    };
    let section = [&0x1a2b_3c4du32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    let numbers: Vec<u8> = [0u32, 0, 7, 60, 60].iter().flat_map(|word| word.to_le_bytes()).collect();
    let packet = [&numbers[..], &[5; 60]].concat();
    let bytes =
        [block(0x0a0d_0d0a, &section), block(1, &[1, 0, 0, 0, 0, 0, 0, 0]), block(2, &packet)].concat();
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, &bytes);
    assert_eq!(frames(&path).unwrap(), [(Duration::from_micros(7), 0, vec![5; 60])]);
}

#[test]
fn what_is_not_in_the_file_yet_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("buffered.pcapng");
    let mut writer = Writer::create(&path, &["a"]).unwrap();
    for added in 1..=1000u64 {
        writer.write(0, Duration::ZERO, &[1; 100]).unwrap();
        let (waiting, bytes) = writer.unwritten();
        assert_eq!(bytes, waiting * 100);
        // The rest is there, though a part of the first that waits may follow.
        let mut reader = Reader::open(&path).unwrap();
        while let Ok(Some(_)) = reader.next_frame() {}
        assert_eq!(reader.frames() + waiting, added);
    }
    writer.flush().unwrap();
    assert_eq!(writer.unwritten(), (0, 0));
}

#[test]
fn counts_stand_at_the_end_and_are_no_packets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("counted.pcapng");
    let mut writer = Writer::create(&path, &["a"]).unwrap();
    writer.write(0, Duration::ZERO, &[1; 60]).unwrap();
    writer.flush().unwrap();
    let before = std::fs::read(&path).unwrap().len();
    let counts = Counts { received: 10, missed: Some(0x0102_0304), meant: 6, dropped: 5 };
    writer.write_counts(0, Duration::ZERO, counts).unwrap();
    assert_eq!(writer.unwritten(), (0, 0), "it is no packet");
    writer.write(0, Duration::ZERO, &[1; 70]).unwrap();
    assert_eq!(writer.unwritten(), (1, 70));
    writer.flush().unwrap();
    assert_eq!(frames(&path).unwrap().len(), 2);
    // Type 5, and the options isb_ifrecv, isb_ifdrop, isb_filteraccept and isb_osdrop, each of eight bytes.
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes[before..before + 4], [5, 0, 0, 0]);
    let options: Vec<u8> = [(4u8, 10u64), (5, 0x0102_0304), (6, 6), (7, 5)]
        .iter()
        .flat_map(|(code, value)| [&[*code, 0, 8, 0][..], &value.to_le_bytes()].concat())
        .collect();
    assert_eq!(bytes[before + 20..before + 20 + options.len()], options);
}
