//! Whole databases: in memory, and in directories that are thrown away.

mod bodies;
mod commits;
mod directory;
mod fixture;
mod history;
mod log_index;
mod reorganisation;
mod threads;
mod verify;
