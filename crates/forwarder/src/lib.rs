//! What the program `ringway` shares with the workspace's own chores (`cargo xtask`).

pub mod binding;
