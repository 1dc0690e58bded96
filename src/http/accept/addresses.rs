//! How many connections an address may hold.
//!
//! Promise: one machine of the network cannot take the places of all others. Loopback is not
//! counted: what runs on this machine (a proxy, a generator of load) speaks for many.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts the connections of each address. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Addresses {
    each_max: u32,
    /// Guards the counts only, for the length of one look-up when a connection begins or ends; no
    /// request takes it. Addresses without a connection are not in it, so it is no larger than the
    /// connections are many.
    held: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    of: Addresses,
    address: IpAddr,
}

impl Addresses {
    /// At most `each_max` connections of one address.
    #[must_use]
    pub fn each_at_most(each_max: u32) -> Addresses {
        Addresses { each_max, held: Arc::default() }
    }

    /// A place for a connection from `ip`, or `None` when its address holds its share. Loopback
    /// always gets one.
    #[must_use]
    pub fn take(&self, ip: IpAddr) -> Option<Place> {
        let address = network_of(ip);
        if !address.is_loopback() {
            let mut held = self.held.lock();
            let count = held.entry(address).or_default();
            if *count >= self.each_max {
                return None;
            }
            *count += 1;
        }
        Some(Place { of: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.address.is_loopback() {
            return;
        }
        let mut held = self.of.held.lock();
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

/// A household has a whole /64 of version 6, so that is what counts as one address there.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_its_share_and_no_more_and_gives_it_back() {
        let addresses = Addresses::each_at_most(2);
        let take = |text: &str| addresses.take(text.parse().unwrap());
        let (first, second) = (take("10.0.0.1"), take("::ffff:10.0.0.1"));
        assert!(first.is_some() && second.is_some());
        assert!(take("10.0.0.1").is_none(), "the third");
        assert!(take("10.0.0.2").is_some(), "another address");
        drop(first);
        assert!(take("10.0.0.1").is_some(), "a place came back");
        drop(second);
        assert!(addresses.held.lock().is_empty());
    }

    #[test]
    fn version_6_counts_by_network_and_loopback_not_at_all() {
        let addresses = Addresses::each_at_most(1);
        let take = |text: &str| addresses.take(text.parse().unwrap());
        let held = take("2001:db8:1:2::1");
        assert!(held.is_some());
        assert!(take("2001:db8:1:2:9::9").is_none());
        assert!(take("2001:db8:1:3::1").is_some());
        let local: Vec<_> = (0..100).map(|_| (take("127.0.0.1"), take("::1"))).collect();
        assert!(local.iter().all(|(four, six)| four.is_some() && six.is_some()));
    }
}
