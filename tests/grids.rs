//! The state machines as they stand in the documentation: printed from the code.
//!
//! The test rewrites the file and fails when it was stale, so that the next run passes and the
//! change is seen in review.

use std::fs;
use std::path::Path;

use dialcore::modules::dialog::state;
use dialcore::modules::dialog::transfer::stage;
use dialcore::modules::tm::{client, server};

#[test]
fn the_documented_grids_are_those_of_the_code() {
    let files = [
        (
            "src/modules/tm/grids.md",
            format!("{}\n{}", server::print(), client::print()),
        ),
        ("src/modules/dialog/grid.md", state::print()),
        ("src/modules/dialog/transfer/grid.md", stage::print()),
    ];
    for (file, want) in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let found = fs::read_to_string(&path).unwrap_or_default();
        if found != want {
            fs::write(&path, &want).expect("the source tree can be written");
            panic!("{file} was stale and has been rewritten; look at it and commit it");
        }
    }
}
