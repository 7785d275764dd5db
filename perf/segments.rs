//! What it would save to give the kernel datagrams of one size and target as one (UDP_SEGMENT),
//! and what the other end gets of it with and without UDP_GRO.
//!
//! One thread sends over the loopback and reads back, so the sender's share has the way through
//! the network stack in it up to the queue of the other socket, as it has for any proxy that talks
//! over the loopback. Costs are by the clock of that thread.

use std::io;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kernel::{self, Inbox, Outbox};
use crate::place::{Place, write_json};
use crate::terminal::{table, value};

/// Datagrams that wait in a queue at most, so that nothing is lost.
const BLOCK: usize = 64;
/// So many of them are no longer than the longest message of UDP.
const SIZE_MAX: usize = 1_000;
const BUFFER_SIZE: usize = 4 << 20;

/// What to run.
#[derive(clap::Args, Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sizes {
    /// Datagrams that leave together.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16")]
    pub(crate) counts: Vec<usize>,
    /// Bytes of each.
    #[arg(long, default_value_t = 500)]
    pub(crate) size: usize,
    /// Datagrams of each measurement.
    #[arg(long, default_value_t = 200_000)]
    pub(crate) datagrams: usize,
}

/// How datagrams leave and how they are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// One entry of sendmmsg(2) for each.
    Each,
    /// One message that the kernel cuts.
    Cut,
    /// The same, and the other end has UDP_GRO.
    CutAndJoined,
    /// Each, and the other end has UDP_GRO.
    EachAndJoined,
}

impl Way {
    const ALL: [Way; 4] = [Way::Each, Way::EachAndJoined, Way::Cut, Way::CutAndJoined];

    fn name(self) -> &'static str {
        match self {
            Way::Each => "sendmmsg",
            Way::EachAndJoined => "sendmmsg, to UDP_GRO",
            Way::Cut => "UDP_SEGMENT",
            Way::CutAndJoined => "UDP_SEGMENT, to UDP_GRO",
        }
    }

    fn is_cut(self) -> bool {
        matches!(self, Way::Cut | Way::CutAndJoined)
    }

    fn is_joined(self) -> bool {
        matches!(self, Way::CutAndJoined | Way::EachAndJoined)
    }
}

/// What was seen of one way.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) way: Way,
    /// Datagrams that left together.
    pub(crate) count: usize,
    /// Microseconds of CPU per datagram to send it.
    pub(crate) send_us: f64,
    /// The same to receive it.
    pub(crate) receive_us: f64,
    /// Datagrams in one message of recvmmsg(2).
    pub(crate) joined: f64,
    /// Datagrams that did not come.
    pub(crate) lost: u64,
}

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Segments {
    pub(crate) place: Place,
    pub(crate) sizes: Sizes,
    pub(crate) seen: Vec<Seen>,
    /// Why the kernel does not offer it, if it does not.
    pub(crate) refused: Option<String>,
}

/// Runs all and writes `NAME.json`.
pub(crate) fn run(sizes: Sizes, folder: &Path, name: &str) -> io::Result<Segments> {
    let is_possible = |count: &usize| (1..=BLOCK).contains(count);
    if !sizes.counts.iter().all(is_possible) || !(1..=SIZE_MAX).contains(&sizes.size) {
        let text = format!("1 to {BLOCK} datagrams of 1 to {SIZE_MAX} bytes can leave together");
        return Err(io::Error::other(text));
    }
    let (mut seen, mut refused) = (Vec::new(), None);
    for count in &sizes.counts {
        for way in Way::ALL {
            match measure(way, *count, &sizes) {
                Ok(one) => seen.push(one),
                Err(error) if way != Way::Each => refused = Some(error.to_string()),
                Err(error) => return Err(error),
            }
        }
    }
    let place = Place::here();
    let segments = Segments {
        place,
        sizes,
        seen,
        refused,
    };
    write_json(folder, name, &segments)?;
    Ok(segments)
}

fn measure(way: Way, count: usize, sizes: &Sizes) -> io::Result<Seen> {
    let [source, target] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0"));
    let (source, target) = (source?, target?);
    source.connect(target.local_addr()?)?;
    kernel::enlarge(&target, BUFFER_SIZE)?;
    if way.is_cut() {
        kernel::cut_into_segments(&source, sizes.size)?;
    }
    if way.is_joined() {
        kernel::take_joined(&target)?;
    }
    let mut inbox = Inbox::of(BLOCK * sizes.size + 64);
    let one = vec![b'x'; if way.is_cut() { count } else { 1 } * sizes.size];
    let (mut sending, mut receiving) = (Duration::ZERO, Duration::ZERO);
    let (mut sent, mut came, mut messages) = (0, 0, 0);
    let mut outbox = Outbox::default();
    while sent < sizes.datagrams {
        let begun = kernel::thread_cpu();
        for _ in 0..(BLOCK / count).max(1) {
            for _ in 0..count * sizes.size / one.len() {
                outbox.push(|out| out.extend_from_slice(&one));
            }
            outbox.flush(&source)?;
            sent += count;
        }
        let middle = kernel::thread_cpu();
        loop {
            let filled = inbox.fill(&target)?;
            messages += filled;
            came += (0..filled).map(|i| inbox.get(i).len()).sum::<usize>();
            if filled == 0 {
                break;
            }
        }
        sending += middle - begun;
        receiving += kernel::thread_cpu() - middle;
    }
    let came = came / sizes.size;
    let each = |time: Duration, count: usize| time.as_secs_f64() * 1e6 / count.max(1) as f64;
    Ok(Seen {
        way,
        count,
        send_us: each(sending, sent),
        receive_us: each(receiving, came),
        joined: came as f64 / messages.max(1) as f64,
        lost: (sent - came) as u64,
    })
}

impl Segments {
    /// The result as README.md shows it: what one datagram costs each way.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("{}\n\n| datagrams at once |", self.place.origin());
        for way in Way::ALL {
            text += &format!(" {} |", way.name());
        }
        text += "\n| --- | --- | --- | --- | --- |\n";
        for count in &self.sizes.counts {
            text += &format!("| {count} |");
            for way in Way::ALL {
                let mut seen = self.seen.iter();
                let seen = seen.find(|s| s.way == way && s.count == *count);
                text += &seen.map_or_else(
                    || " - |".to_owned(),
                    |s| format!(" {:.2} + {:.2} us |", s.send_us, s.receive_us),
                );
            }
            text.push('\n');
        }
        text
    }

    /// The result for people.
    pub(crate) fn text(&self) -> String {
        let mut table = table(
            [
                "datagrams at once",
                "way",
                "to send one, us",
                "to receive one, us",
                "both, us",
                "datagrams that come as one",
                "lost",
            ]
            .map(String::from),
        );
        for seen in &self.seen {
            table.add_row([
                seen.count.to_string(),
                seen.way.name().to_owned(),
                value(seen.send_us),
                value(seen.receive_us),
                value(seen.send_us + seen.receive_us),
                value(seen.joined),
                seen.lost.to_string(),
            ]);
        }
        let refused = self.refused.as_ref();
        let refused = refused.map_or_else(String::new, |text| format!("\nrefused: {text}"));
        format!("{}\n{table}{refused}", self.place.head())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_brings_every_datagram() {
        let folder = std::env::temp_dir().join(format!("perf-segments-{}", std::process::id()));
        let sizes = Sizes {
            counts: vec![1, 4],
            size: 500,
            datagrams: 256,
        };
        let found = run(sizes, &folder, "segments").expect("sockets");
        assert!(found.seen.len() >= 2, "{found:?}");
        for seen in &found.seen {
            assert_eq!(seen.lost, 0, "{seen:?}");
            assert!(seen.send_us > 0.0 && seen.receive_us > 0.0, "{seen:?}");
            // What was not given as one does not come as one over the loopback.
            assert!((1.0..=4.0).contains(&seen.joined), "{seen:?}");
        }
        assert!(found.text().contains("sendmmsg"));
        assert!(folder.join("segments.json").exists());
        std::fs::remove_dir_all(&folder).expect("our own folder");
    }
}
