//! The pure middle: what state the cluster is in and what this unit should do next.
