//! Networks whose members may do something.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

/// A network in CIDR notation, or one address.
#[derive(Clone, Copy, Debug)]
pub struct Network(pub IpNet);

impl Network {
    /// Whether `ip` is in one of these networks.
    pub fn any_contains(networks: &[Self], ip: IpAddr) -> bool {
        networks.iter().any(|Self(net)| net.contains(&ip))
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let one = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| one()).map(Self).map_err(|_| {
            serde::de::Error::custom(format_args!(
                "{text:?} is not a network: write an address such as 192.168.1.9 or a network such as 192.168.1.0/24"
            ))
        })
    }
}
