//! All options about the server.

use super::{Description, Kind, Sets, Takes};

const fn at_once(name: &'static str, variable: &'static str, kind: Kind) -> Description {
    Description { name, sets: Sets::Variable(variable), kind, takes: Takes::AtOnce }
}

const fn provider(name: &'static str, option: &'static str, kind: Kind, takes: Takes) -> Description {
    Description { name, sets: Sets::Provider(option), kind, takes }
}

/// The options. Ranges are the server's own (MariaDB 10.11) where it has narrower ones than sense has.
pub const DESCRIPTIONS: [Description; 20] = [
    at_once("max-connections", "max_connections", Kind::NumberOrAuto { min: 10, max: 100_000 }),
    // The least that the server takes with pages of 16 KiB; the greatest that anybody has.
    at_once("innodb-buffer-pool-size", "innodb_buffer_pool_size", Kind::Bytes { min: 5 << 20, max: 64 << 40 }),
    at_once("innodb-io-capacity", "innodb_io_capacity", Kind::Number { min: 100, max: 1_000_000 }),
    at_once("innodb-flush-log-at-trx-commit", "innodb_flush_log_at_trx_commit", Kind::Number { min: 0, max: 2 }),
    at_once("table-open-cache", "table_open_cache", Kind::Number { min: 10, max: 1_048_576 }),
    at_once("wait-timeout", "wait_timeout", Kind::Number { min: 1, max: 31_536_000 }),
    at_once("default-storage-engine", "default_storage_engine", Kind::Choice(&["InnoDB", "Aria", "MyISAM"])),
    at_once("character-set", "character_set_server", Kind::CharacterSet),
    at_once("time-zone", "default_time_zone", Kind::Zone),
    // binlog_expire_logs_seconds goes to 99 days.
    at_once("binlog-retention-days", "binlog_expire_logs_seconds", Kind::Days { min: 1, max: 99 }),
    at_once("slow-query-log", "slow_query_log", Kind::Switch),
    at_once("long-query-time", "long_query_time", Kind::Seconds { max: 31_536_000 }),
    at_once("wsrep-slave-threads", "wsrep_slave_threads", Kind::Number { min: 1, max: 512 }),
    at_once("sst-method", "wsrep_sst_method", Kind::Choice(&["mariabackup", "rsync"])),
    Description {
        name: "lower-case-table-names",
        sets: Sets::Variable("lower_case_table_names"),
        kind: Kind::Number { min: 0, max: 1 },
        takes: Takes::Formation,
    },
    provider("gcache-size", "gcache.size", Kind::Bytes { min: 32 << 20, max: 16 << 40 }, Takes::Restart),
    provider("gcs-fc-limit", "gcs.fc_limit", Kind::Number { min: 1, max: 1_000_000 }, Takes::AtOnce),
    provider("peer-timeout", "gmcast.peer_timeout", Kind::Timeout { max: 300 }, Takes::Restart),
    provider("suspect-timeout", "evs.suspect_timeout", Kind::Timeout { max: 300 }, Takes::AtOnce),
    provider("inactive-timeout", "evs.inactive_timeout", Kind::Timeout { max: 600 }, Takes::AtOnce),
];

/// Variables that `extra-config` may not set, beside those that have an option: what the cluster, backups and the charm itself
/// live by.
pub const OWNED: &[&str] = &[
    "basedir",
    "bind_address",
    "binlog_format",
    "bootstrap",
    "character_sets_dir",
    "chroot",
    "datadir",
    "defaults_extra_file",
    "defaults_file",
    "defaults_group_suffix",
    "extra_port",
    "gtid_domain_id",
    "help",
    "ignore_db_dirs",
    "init_file",
    "innodb_autoinc_lock_mode",
    "innodb_data_home_dir",
    "innodb_doublewrite",
    "innodb_force_recovery",
    "innodb_log_group_home_dir",
    "innodb_read_only",
    "innodb_undo_directory",
    "log_basename",
    "log_bin",
    "log_bin_index",
    "log_error",
    "log_slave_updates",
    "no_defaults",
    "pid_file",
    "plugin_dir",
    "port",
    "print_defaults",
    "secure_file_priv",
    "server_id",
    "skip_bind_address",
    "skip_grant_tables",
    "skip_log_bin",
    "skip_name_resolve",
    "skip_networking",
    "skip_slave_start",
    "socket",
    "tc_heuristic_recover",
    "tmpdir",
    "unix_socket",
    "user",
    "verbose",
    "version",
];

/// Character sets and how their texts are compared when nothing else is said (`information_schema.CHARACTER_SETS` of MariaDB
/// 10.11). Both are set: the packages' own file names a collation, which fits only one of them.
pub(super) const CHARACTER_SETS: [(&str, &str); 40] = [
    ("armscii8", "armscii8_general_ci"),
    ("ascii", "ascii_general_ci"),
    ("big5", "big5_chinese_ci"),
    ("binary", "binary"),
    ("cp1250", "cp1250_general_ci"),
    ("cp1251", "cp1251_general_ci"),
    ("cp1256", "cp1256_general_ci"),
    ("cp1257", "cp1257_general_ci"),
    ("cp850", "cp850_general_ci"),
    ("cp852", "cp852_general_ci"),
    ("cp866", "cp866_general_ci"),
    ("cp932", "cp932_japanese_ci"),
    ("dec8", "dec8_swedish_ci"),
    ("eucjpms", "eucjpms_japanese_ci"),
    ("euckr", "euckr_korean_ci"),
    ("gb2312", "gb2312_chinese_ci"),
    ("gbk", "gbk_chinese_ci"),
    ("geostd8", "geostd8_general_ci"),
    ("greek", "greek_general_ci"),
    ("hebrew", "hebrew_general_ci"),
    ("hp8", "hp8_english_ci"),
    ("keybcs2", "keybcs2_general_ci"),
    ("koi8r", "koi8r_general_ci"),
    ("koi8u", "koi8u_general_ci"),
    ("latin1", "latin1_swedish_ci"),
    ("latin2", "latin2_general_ci"),
    ("latin5", "latin5_turkish_ci"),
    ("latin7", "latin7_general_ci"),
    ("macce", "macce_general_ci"),
    ("macroman", "macroman_general_ci"),
    ("sjis", "sjis_japanese_ci"),
    ("swe7", "swe7_swedish_ci"),
    ("tis620", "tis620_thai_ci"),
    ("ucs2", "ucs2_general_ci"),
    ("ujis", "ujis_japanese_ci"),
    ("utf16", "utf16_general_ci"),
    ("utf16le", "utf16le_general_ci"),
    ("utf32", "utf32_general_ci"),
    ("utf8mb3", "utf8mb3_general_ci"),
    ("utf8mb4", "utf8mb4_general_ci"),
];
