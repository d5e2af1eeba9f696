//! stub
/// T
#[derive(Clone, Debug)]
pub struct Target;
