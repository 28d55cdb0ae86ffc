//! Driver: the MariaDB server, its configuration, accounts and service.
