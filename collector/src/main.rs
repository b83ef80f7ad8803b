//! `driftline`: the collector and its tools.

fn main() -> std::process::ExitCode {
    driftline_collector::main()
}
