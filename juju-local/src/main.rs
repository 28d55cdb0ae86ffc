//! A Juju for one machine: command line, controller and hook tools in one multi-call binary.

fn main() {}
