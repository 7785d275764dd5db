//! The command: arguments, configuration, exit code.
fn main() {}
