//! The `collab-engine` program. What it does is in [`collab_engine::cli`].

fn main() -> std::process::ExitCode {
    collab_engine::cli::main()
}
