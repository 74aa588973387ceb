//! How many connections there are, in total and from each IP address; the counts are those of the seats given out.

use std::collections::HashMap;
use std::net::IpAddr;

use tnet_proto::Limit;

use crate::table::LimitHit;

/// Room for connections.
#[derive(Debug)]
pub(crate) struct Admission {
    max: u32,
    max_per_ip: u32,
    total: u32,
    per_ip: HashMap<IpAddr, u32>,
}

/// A place that a connection takes; to be given back with [`Admission::leave`].
#[derive(Debug)]
pub(crate) struct Seat(IpAddr);

impl Admission {
    pub(crate) fn new(max: u32, max_per_ip: u32) -> Admission {
        Admission { max, max_per_ip, total: 0, per_ip: HashMap::new() }
    }

    /// Takes a place for a connection from `ip`.
    pub(crate) fn enter(&mut self, ip: IpAddr) -> Result<Seat, LimitHit> {
        if self.total >= self.max {
            return Err(LimitHit::new(Limit::ConnectionsTotal, self.max));
        }
        if self.per_ip.get(&ip).is_some_and(|count| *count >= self.max_per_ip) || self.max_per_ip == 0 {
            return Err(LimitHit::new(Limit::ConnectionsPerIp, self.max_per_ip));
        }
        self.total += 1;
        *self.per_ip.entry(ip).or_default() += 1;
        Ok(Seat(ip))
    }

    pub(crate) fn leave(&mut self, Seat(ip): Seat) {
        self.total -= 1;
        let count = self.per_ip.get_mut(&ip).expect("enter counted the connection under this address");
        *count -= 1;
        if *count == 0 {
            self.per_ip.remove(&ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    #[test]
    fn a_seat_given_back_is_free_again_and_leaves_no_trace() {
        let mut admission = Admission::new(3, 2);
        let first = admission.enter(ip(1)).expect("one of two");
        let second = admission.enter(ip(1)).expect("two of two");
        let hit = admission.enter(ip(1)).expect_err("three of two");
        assert_eq!(hit, LimitHit { limit: Limit::ConnectionsPerIp, value: 2 });
        let third = admission.enter(ip(2)).expect("three of three");
        let hit = admission.enter(ip(3)).expect_err("four of three");
        assert_eq!(hit, LimitHit { limit: Limit::ConnectionsTotal, value: 3 });

        admission.leave(first);
        let fourth = admission.enter(ip(1)).expect("there is room again");
        for seat in [second, third, fourth] {
            admission.leave(seat);
        }
        assert_eq!((admission.total, admission.per_ip.len()), (0, 0));
    }
}
