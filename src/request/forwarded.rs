//! stub
use ipnet::IpNet;
/// T
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);
