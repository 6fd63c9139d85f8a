//! Which leases a worker takes, and which it asks for. Pure.
//!
//! Everybody decides for himself by what he sees in the table. Who sees the same comes to the same shares, and asks for
//! leases that nobody else asks for; who sees something else finds at the write that he came too late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::lease::Lease;
use crate::seen::Seen;

/// Who decides, and within which bounds.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The name in the table.
    pub id: String,
    /// How long a lease lasts without a sign of its holder.
    pub duration: Duration,
    /// The most leases that it wants.
    pub leases_max: usize,
    /// The most leases that it asks others for at a time.
    pub steal_max: usize,
}

/// What a worker does about a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Takes it: it is free, or was handed to this worker.
    Take(String),
    /// Asks its holder to hand it over.
    Request(String),
}

/// What to do. `held`: the leases that this worker holds, or has not yet let go of.
pub fn decide(me: &Worker, seen: &Seen, held: &BTreeSet<String>) -> Vec<Action> {
    let due: Vec<&Lease> = seen.leases().filter(|it| seen.is_due(it)).collect();
    let is_free = |it: &Lease| seen.is_free(it, me.duration);
    let is_mine = |it: &Lease| it.owner.as_deref() == Some(me.id.as_str());

    // A lease counts for who is to have it: those that are being handed over are as good as handed over.
    let mut loads: BTreeMap<&str, usize> = BTreeMap::from([(me.id.as_str(), 0)]);
    for lease in &due {
        if is_mine(lease) || held.contains(&lease.key) && lease.holder() == Some(me.id.as_str()) {
            *loads.entry(lease.owner.as_deref().unwrap_or(&me.id)).or_default() += 1;
        } else if !is_free(lease) {
            *loads.entry(lease.owner.as_deref().unwrap_or_default()).or_default() += 1;
        }
    }
    let shares = shares(&loads, due.len());
    let mut load = loads[me.id.as_str()];
    let share = shares[me.id.as_str()].min(me.leases_max);

    let mut actions = Vec::new();
    let mut open: Vec<&Lease> = Vec::new();
    for lease in due.iter().filter(|it| !held.contains(&it.key)) {
        // Handed to this worker, or taken by it in a write whose answer was lost.
        let is_handed = is_mine(lease) && lease.checkpoint_owner.is_none();
        if is_handed || (is_mine(lease) && is_free(lease)) {
            actions.push(Action::Take(lease.key.clone()));
        } else if is_free(lease) {
            open.push(lease);
        }
    }
    // Another order for everybody, so that those who start together do not all reach for the same lease.
    open.sort_by_key(|it| xxh3_64(format!("{} {}", me.id, it.key).as_bytes()));
    let any_open = !open.is_empty();
    for lease in open {
        let free_for = match lease.owner {
            None => seen.still_for(&lease.key),
            Some(_) => seen.still_for(&lease.key).saturating_sub(me.duration),
        };
        // Everybody has looked three times since then, and nobody has room: somebody counts for a share who has died, such as
        // one who had asked for a lease that is not handed over yet. Whose it is need not be even.
        let room = if free_for >= me.duration { me.leases_max } else { share };
        if load < room {
            load += 1;
            actions.push(Action::Take(lease.key.clone()));
        }
    }
    // Nobody is asked for a lease as long as there are free ones: they change what everybody's share is.
    if !any_open && load < share {
        actions.extend(requests(me, &due, &loads, &shares).into_iter().map(Action::Request));
    }
    actions
}

/// How many leases everybody should have. Those who have many keep what cannot be shared evenly.
fn shares<'a>(loads: &BTreeMap<&'a str, usize>, leases: usize) -> BTreeMap<&'a str, usize> {
    let (each, over) = (leases / loads.len(), leases % loads.len());
    let mut workers: Vec<(&str, usize)> = loads.iter().map(|(id, load)| (*id, *load)).collect();
    workers.sort_by_key(|(_, load)| std::cmp::Reverse(*load));
    workers.iter().enumerate().map(|(nth, (id, _))| (*id, each + usize::from(nth < over))).collect()
}

/// The leases to ask for: this worker's part of what others have beyond their shares.
fn requests(me: &Worker, due: &[&Lease], loads: &BTreeMap<&str, usize>, shares: &BTreeMap<&str, usize>) -> Vec<String> {
    let is_asked = |it: &&&Lease| it.checkpoint_owner.is_some();
    let asked = due.iter().filter(is_asked).filter(|it| it.owner.as_deref() == Some(me.id.as_str())).count();
    let mut surplus: Vec<&Lease> = Vec::new();
    for (id, load) in loads {
        let beyond = load.saturating_sub(shares[id]);
        let theirs = due.iter().filter(|it| it.owner.as_deref() == Some(*id) && it.checkpoint_owner.is_none());
        surplus.extend(theirs.take(beyond));
    }
    // In the same order for everybody: who comes first in it asks for the first ones.
    let before: usize =
        loads.iter().take_while(|(id, _)| **id != me.id).map(|(id, load)| shares[id].saturating_sub(*load)).sum();
    let wanted = shares[me.id.as_str()].min(me.leases_max).saturating_sub(loads[me.id.as_str()]);
    let wanted = wanted.min(me.steal_max.saturating_sub(asked));
    surplus.into_iter().skip(before).take(wanted).map(|it| it.key.clone()).collect()
}
