//! What the examples of `tch-losses` share.
