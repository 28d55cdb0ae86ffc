//! How much memory and disk the server may take: a pure function of the machine and the operator's options.

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

/// Sizes for a machine with so much memory and so large a data volume.
pub fn sizing(memory: u64, volume: u64, use_: Use, max_connections: Option<u32>) -> Sizing {
    match use_ {
        Use::Testing => Sizing {
            buffer_pool: 64 * MIB,
            log_file: 32 * MIB,
            max_connections: max_connections.unwrap_or(100),
            gcache: 32 * MIB,
        },
        Use::Production => {
            let usable = memory.saturating_sub(OVERHEAD).max(256 * MIB);
            let buffer_pool = round_down(usable / 4 * 3, 128 * MIB).max(128 * MIB);
            let left = usable.saturating_sub(buffer_pool);
            let from_memory = u32::try_from(left / PER_CONNECTION).unwrap_or(u32::MAX).clamp(100, 10_000);
            Sizing {
                buffer_pool,
                log_file: (buffer_pool / 4).clamp(96 * MIB, 2048 * MIB).min((volume / 10).max(48 * MIB)),
                max_connections: max_connections.unwrap_or(from_memory),
                gcache: (volume / 10).clamp(64 * MIB, 2048 * MIB),
            }
        }
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
            let s = sizing(gib << 30, volume_gib << 30, Use::Production, max);
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
}
