//! The only door to processes, files, clock, packages and services.
