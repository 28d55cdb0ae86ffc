//! Driver: typed hook tools.
