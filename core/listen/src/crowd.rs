//! How many connections there are, and of whom.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::descriptors::{Descriptor, Descriptors};

/// Who has an address, as far as that can be told: an IPv4 address, or the first 64 bits of an IPv6 address, because
/// whoever has one has all of those.
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(it) => IpAddr::V6((u128::from(it) & (u128::MAX << 64)).into()),
        it => it,
    }
}

/// The connections of a server, all together and by subscriber.
#[derive(Debug)]
pub(crate) struct Crowd {
    connections_max: usize,
    per_address_max: usize,
    descriptors: Arc<Descriptors>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_subscriber: HashMap<IpAddr, usize>,
}

/// The place of one connection.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    subscriber: IpAddr,
    _descriptor: Descriptor,
}

impl Crowd {
    pub(crate) fn new(connections_max: usize, per_address_max: usize, descriptors: Arc<Descriptors>) -> Arc<Self> {
        Arc::new(Self { connections_max, per_address_max, descriptors, open: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of an address comes in, if there is room for it.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, is_proxy: bool) -> Option<Place> {
        let subscriber = subscriber(address);
        let open = &mut *self.open();
        let of_subscriber = open.by_subscriber.get(&subscriber).copied().unwrap_or_default();
        if open.all >= self.connections_max || (of_subscriber >= self.per_address_max && !is_proxy) {
            return None;
        }
        let descriptor = self.descriptors.take()?;
        open.all += 1;
        open.by_subscriber.insert(subscriber, of_subscriber + 1);
        Some(Place { crowd: self.clone(), subscriber, _descriptor: descriptor })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let open = &mut *self.crowd.open();
        open.all -= 1;
        if let Some(count) = open.by_subscriber.get_mut(&self.subscriber) {
            *count -= 1;
            if *count == 0 {
                open.by_subscriber.remove(&self.subscriber);
            }
        }
    }
}
