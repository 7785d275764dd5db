//! The whole comparison, small, with what is built.

use super::*;
use crate::place::read_json;
use crate::subject::Kind;

fn few() -> Sizes {
    Sizes {
        rates: vec![100.0, 200.0],
        seconds: 0.5,
        step_seconds: 0.1,
        calls: 200,
        held: 50,
        ringing: 50,
        linger_s: 2.5,
        warm: 50,
        // Transactions that go soon.
        script: SCRIPT.replace(
            "loadmodule \"ctl.so\"",
            "loadmodule \"ctl.so\"\nmodparam(\"tm\", \"wt_timer\", 500)",
        ),
    }
}

/// Proxies that are there: the one of this tree may not be built, Kamailio not installed.
pub(crate) fn there() -> Vec<Variant> {
    let all = [Kind::Dialcore, Kind::Kamailio].map(|kind| Variant {
        kind,
        workers: 1,
        is_apart: false,
    });
    all.into_iter().filter(|v| v.kind.is_there()).collect()
}

#[test]
fn a_comparison_in_small() {
    let folder = std::env::temp_dir().join(format!("perf-compare-{}", std::process::id()));
    let found = run(few(), &there(), &folder, "compare").expect("a comparison");
    for one in &found.found {
        let name = one.variant.name();
        let counts = one.steady[0].outcome.counts;
        assert!(
            counts.complete >= 50 && counts.wrong.all() == 0,
            "{name}: {counts:?}"
        );
        for steady in &one.steady {
            assert!(steady.cpu_us() > 0.0 && steady.wakeups > 0.0, "{name}");
            assert!(steady.first.count > 0 && steady.warm.count > 0, "{name}");
        }
        assert!(one.knee >= 100.0, "{name}: {}", one.knee);
        assert!(one.reordered().1 >= 200, "{name}");
        assert_eq!(one.per_call.holds.dialogs, 50, "{name}");
        assert_eq!(one.per_dialog.holds.dialogs, 50, "{name}");
        assert_eq!(one.per_dialog.holds.transactions, 0, "{name}");
        assert!(one.per_dialog.holds_after.is_nothing(), "{name}");
    }
    assert_eq!(found.floor.len(), 2);
    assert!(
        found
            .floor
            .iter()
            .all(|s| s.cpu_us() > 0.0 && s.wakeups > 0.0)
    );
    let read: Comparison = read_json(&folder, "compare").expect("what was written");
    assert_eq!(read.markdown(), found.markdown());
    assert!(
        read.markdown().contains("| floor, 1 thread |"),
        "{}",
        read.markdown()
    );
    let text = found.text();
    for word in [
        "CPU per call, us, at 100/s",
        "knee",
        "INVITE",
        "bare relay",
        "wake-ups per call at 200/s",
        "budget",
    ] {
        assert!(text.contains(word), "{word} in\n{text}");
    }
    for name in [
        "compare.json",
        "compare-cpu.svg",
        "compare-latency.svg",
        "compare-knee.svg",
    ] {
        let size = std::fs::metadata(folder.join(name)).map_or(0, |m| m.len());
        assert!(size > 1_000, "{name}: {size} bytes");
    }
    std::fs::remove_dir_all(&folder).expect("our own folder");
}
