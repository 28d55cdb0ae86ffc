//! How much memory and disk the server may take: a pure function of the machine and the operator's options.

use std::collections::BTreeMap;

/// How the operator means the machine to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// As much as is sensible.
    Production,
    /// As little as it runs with.
    Testing,
}

/// The server's sizes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// `innodb_buffer_pool_size`.
    pub buffer_pool: u64,
    /// `innodb_log_file_size`.
    pub log_file: u64,
    /// `max_connections`.
    pub max_connections: u32,
    /// Galera's ring of recent write-sets: as far as it reaches back, a returning member is spared a full transfer.
    pub gcache: u64,
}

const MIB: u64 = 1 << 20;
/// What a busy connection takes, buffers and stack together (the figure of charmed MySQL's tuning rule).
const PER_CONNECTION: u64 = 12 * MIB;
/// For the server itself, the agent and the system.
const OVERHEAD: u64 = 512 * MIB;

/// A size that was measured is rounded up to this: a little more to write is no reason for another size.
const RING_STEP: u64 = 256 * MIB;

/// What an operator has asked for, over the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// How much memory the server may count on, when less than the machine's.
    pub limit_memory: Option<u64>,
    /// `innodb_buffer_pool_size`.
    pub buffer_pool: Option<u64>,
    /// `max_connections`.
    pub max_connections: Option<u32>,
    /// Galera's ring.
    pub gcache: Option<u64>,
    /// What the ring should hold at least, as was measured, when nobody has asked for a size.
    pub gcache_measured: u64,
}

/// Sizes for a machine with so much memory and so large a data volume.
pub fn sizing(memory: u64, volume: u64, use_: Use, asked: Asked) -> Sizing {
    match use_ {
        Use::Testing => Sizing {
            buffer_pool: asked.buffer_pool.unwrap_or(64 * MIB),
            log_file: 32 * MIB,
            max_connections: asked.max_connections.unwrap_or(100),
            gcache: asked.gcache.unwrap_or(32 * MIB),
        },
        Use::Production => {
            let memory = asked.limit_memory.map_or(memory, |limit| limit.min(memory));
            let usable = memory.saturating_sub(OVERHEAD).max(256 * MIB);
            let largest = round_down(usable / 4 * 3, 128 * MIB).max(128 * MIB);
            // Connections that were asked for come before the pool.
            let beside = |connections: u32| usable.saturating_sub(u64::from(connections) * PER_CONNECTION);
            let from_rules = asked
                .max_connections
                .map_or(largest, |connections| round_down(beside(connections), 128 * MIB).clamp(128 * MIB, largest));
            let buffer_pool = asked.buffer_pool.unwrap_or(from_rules);
            let left = usable.saturating_sub(buffer_pool);
            let from_memory = u32::try_from(left / PER_CONNECTION).unwrap_or(u32::MAX).clamp(100, 10_000);
            Sizing {
                buffer_pool,
                log_file: (buffer_pool / 4).clamp(96 * MIB, 2048 * MIB).min((volume / 10).max(48 * MIB)),
                max_connections: asked.max_connections.unwrap_or(from_memory),
                gcache: asked.gcache.unwrap_or_else(|| {
                    let from_rules = (volume / 10).clamp(64 * MIB, 2048 * MIB);
                    let measured = asked.gcache_measured.div_ceil(RING_STEP).saturating_mul(RING_STEP);
                    from_rules.max(measured.min(round_down(volume / 4, RING_STEP)))
                }),
            }
        }
    }
}

/// Variables that say how large the pools and caches are which all connections share.
pub const SHARED: [&str; 5] = [
    "innodb_buffer_pool_size",
    "innodb_log_buffer_size",
    "key_buffer_size",
    "aria_pagecache_buffer_size",
    "query_cache_size",
];

/// What a server takes of the memory, as its own variables say, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Whatever happens: the pools that it fills.
    pub shared: u64,
    /// For each connection, even an idle one.
    pub idle_connection: u64,
    /// For each connection that uses all of its buffers once.
    pub busy_connection: u64,
    /// How many there may be.
    pub connections: u64,
}

impl Needs {
    /// From all variables of a server; what is not among them counts nothing.
    pub fn of(variables: &BTreeMap<String, String>) -> Self {
        let sum = |names: &[&str]| -> u64 {
            names.iter().filter_map(|name| variables.get(*name)?.parse::<u64>().ok()).fold(0, u64::saturating_add)
        };
        let idle_connection = sum(&["thread_stack", "net_buffer_length", "net_buffer_length"]);
        let buffers = sum(&[
            "sort_buffer_size",
            "join_buffer_size",
            "read_buffer_size",
            "read_rnd_buffer_size",
            "binlog_cache_size",
            "tmp_memory_table_size",
        ]);
        Self {
            shared: sum(&SHARED),
            idle_connection,
            busy_connection: idle_connection.saturating_add(buffers),
            connections: sum(&["max_connections"]),
        }
    }

    /// With every connection there, and all of them idle.
    pub fn at_least(&self) -> u64 {
        self.shared.saturating_add(self.connections.saturating_mul(self.idle_connection))
    }
}

fn round_down(value: u64, step: u64) -> u64 {
    value / step * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_common_machines() {
        let shown = |gib: u64, volume_gib: u64, max| {
            let s = sizing(
                gib << 30,
                volume_gib << 30,
                Use::Production,
                Asked { max_connections: max, ..Asked::default() },
            );
            format!(
                "pool {} log {} connections {} gcache {}",
                s.buffer_pool / MIB,
                s.log_file / MIB,
                s.max_connections,
                s.gcache / MIB
            )
        };
        assert_eq!(shown(1, 1, None), "pool 384 log 96 connections 100 gcache 102");
        assert_eq!(shown(8, 50, None), "pool 5760 log 1440 connections 160 gcache 2048");
        assert_eq!(shown(64, 500, Some(900)), "pool 48768 log 2048 connections 900 gcache 2048");
    }

    #[test]
    fn the_ring_holds_what_was_measured_within_reason() {
        let ring = |volume_gib: u64, measured_mib: u64, asked: Option<u64>| {
            let asked = Asked { gcache: asked, gcache_measured: measured_mib * MIB, ..Asked::default() };
            sizing(8 << 30, volume_gib << 30, Use::Production, asked).gcache / MIB
        };
        assert_eq!(ring(500, 0, None), 2048);
        assert_eq!(ring(500, 1000, None), 2048);
        assert_eq!(ring(500, 5000, None), 5120);
        assert_eq!(ring(10, 5000, None), 2560, "no more than a quarter of the volume");
        assert_eq!(ring(500, 5000, Some(64 * MIB)), 64);
    }
}
