-- Every kind of table, column and object that could come back as something else.
CREATE DATABASE `odd ``name` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin COMMENT 'its own comment';
CREATE DATABASE second CHARACTER SET latin1;
CREATE DATABASE `empty`;
USE `odd ``name`;
SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES';
CREATE TABLE `t ``1'"\\` (
  `id ``x` BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, `a,b` INT, `ünï` VARCHAR(40), `select` DECIMAL(30,10),
  f FLOAT, f2 FLOAT(7,3), d DOUBLE, b BIT(11), b1 BIT(1), bo BOOLEAN, y YEAR, da DATE, dt DATETIME(6), ts TIMESTAMP(6) NULL,
  ti TIME(3), e ENUM('a','b','1'), s SET('x','y','z'), bl LONGBLOB, vb VARBINARY(300), bn BINARY(8), ch CHAR(10),
  sj VARCHAR(50) CHARACTER SET sjis, gb VARCHAR(50) CHARACTER SET gbk, u16 VARCHAR(50) CHARACTER SET utf16,
  uc TEXT CHARACTER SET ucs2, l1 TEXT CHARACTER SET latin1, js JSON, i4 INET4, i6 INET6, uu UUID,
  g GEOMETRY, p POINT, inv INT INVISIBLE DEFAULT 7, gs INT AS (`a,b` + 1) STORED, gv VARCHAR(60) AS (CONCAT('v', `ünï`)) VIRTUAL,
  KEY (gs), FULLTEXT KEY (l1)
) COMMENT='with a ''comment''';
INSERT INTO `t ``1'"\\` (`a,b`, `ünï`, `select`, f, f2, d, b, b1, bo, y, da, dt, ts, ti, e, s, bl, vb, bn, ch, sj, gb, u16, uc, l1, js, i4, i6, uu, g, p, inv)
VALUES
 (1, 'é😀\\N', 12345678901234567890.0123456789, 1.23456789, 3.14159, 0.1 + 0.2, b'10000001011', b'1', TRUE, 2026, '2026-02-31', '2026-03-29 02:30:00.123456',
  '2026-10-25 00:30:00.5', '-838:59:58.999', 'b', 'x,z', 0x000A0D5C09272261FF1A00, 0x5C6E5C, 0x0A, 'x  ', '表ソ\\', '中\\', 'a小😀', '小', 'é\\N', '{"a":"\\n"}',
  '10.0.0.1', 'fe80::1', '6a1f0d52-8f2e-11ee-b9d1-0242ac120002', ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 10,0 0))', 4326), ST_GeomFromText('POINT(1.5 -2)'), 9),
 (NULL, '\\N', NULL, 3.4e38, NULL, 1e-300, b'0', b'0', FALSE, 1901, '0000-00-00', '0000-00-00 00:00:00', NULL, '00:00:00', 'zzz', '', '', '', '', '', '', '', '', '', '\\N', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (-5, '\t\n\r\0\Z\\', -0.0000000001, -16777216, -1, -0.1, b'1', b'1', 1, 2155, '9999-12-31', '9999-12-31 23:59:59.999999', '1970-01-01 00:00:01', '838:59:59', '1', 'y', REPEAT('\\\n', 100000), '\n', '\\\\', '\\', '\\', '\\', '\\', '\\', '\t', '[]', '255.255.255.255', '::', '00000000-0000-0000-0000-000000000000', ST_GeomFromText('GEOMETRYCOLLECTION EMPTY'), NULL, 0);
INSERT INTO `t ``1'"\\` (`a,b`, bl, vb) SELECT seq, CHAR(seq, 92, seq, 10, seq), CHAR(seq) FROM seq_0_to_255;
CREATE TABLE no_rows (id INT PRIMARY KEY, x INT DEFAULT (id + 1), CHECK (x > 0));
CREATE TABLE checked (x INT);
INSERT INTO checked VALUES (-1), (1);
SET check_constraint_checks = 0;
ALTER TABLE checked ADD CONSTRAINT positive CHECK (x > 0);
SET check_constraint_checks = 1;
CREATE TABLE without_key (a INT, b VARCHAR(10));
INSERT INTO without_key VALUES (1, 'x'), (1, 'x'), (NULL, NULL);
CREATE TABLE only_made_up (v INT AS (42) VIRTUAL);
INSERT INTO only_made_up VALUES (), (), ();
CREATE TABLE old (id INT PRIMARY KEY AUTO_INCREMENT, x TEXT) ENGINE=MyISAM;
INSERT INTO old (x) VALUES ('my'), ('isam');
CREATE TABLE crashed_safely (id INT PRIMARY KEY, x VARCHAR(10)) ENGINE=Aria;
INSERT INTO crashed_safely VALUES (1, 'aria');
CREATE TABLE zero (id INT PRIMARY KEY AUTO_INCREMENT, x INT) AUTO_INCREMENT = 1000;
SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';
INSERT INTO zero VALUES (0, 0), (-3, 1);
CREATE TABLE parts (id INT, k INT, PRIMARY KEY (id, k)) PARTITION BY RANGE (k) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO parts SELECT seq, seq FROM seq_1_to_30;
CREATE TABLE squeezed (id INT PRIMARY KEY, x VARCHAR(3000)) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=4;
INSERT INTO squeezed SELECT seq, REPEAT('x', seq) FROM seq_1_to_50;
CREATE TABLE ver (id INT PRIMARY KEY, x INT) WITH SYSTEM VERSIONING;
INSERT INTO ver VALUES (1, 1), (2, 2), (3, 3);
UPDATE ver SET x = 9 WHERE id = 1;
DELETE FROM ver WHERE id = 2;
CREATE TABLE ver2 (id INT PRIMARY KEY, x INT, rs TIMESTAMP(6) GENERATED ALWAYS AS ROW START INVISIBLE, re TIMESTAMP(6) GENERATED ALWAYS AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME(rs, re)) WITH SYSTEM VERSIONING;
INSERT INTO ver2 (id, x) VALUES (1, 1), (2, 2);
UPDATE ver2 SET x = 5 WHERE id = 1;
CREATE TABLE app_period (id INT, a DATE, b DATE, PERIOD FOR p (a, b), PRIMARY KEY (id, p WITHOUT OVERLAPS));
INSERT INTO app_period VALUES (1, '2020-01-01', '2021-01-01'), (1, '2021-01-01', '2022-01-01');
CREATE SEQUENCE numbers START WITH 5 INCREMENT BY 3 NOCACHE;
DO NEXTVAL(numbers);
CREATE TABLE zz_parent (id INT PRIMARY KEY);
INSERT INTO zz_parent VALUES (1), (2);
CREATE TABLE child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES zz_parent (id) ON DELETE CASCADE);
INSERT INTO child VALUES (1, 2), (2, NULL);
SET foreign_key_checks = 0;
CREATE TABLE child2 (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES second.parent (id));
SET foreign_key_checks = 1;
CREATE TABLE second.parent (id INT PRIMARY KEY);
INSERT INTO second.parent VALUES (1), (2);
INSERT INTO child2 VALUES (1, 1), (2, NULL);
CREATE FUNCTION twice(x INT) RETURNS INT DETERMINISTIC RETURN x * 2;
CREATE VIEW z_view AS SELECT id, x FROM zero;
CREATE VIEW a_view AS SELECT id, twice(x) AS doubled FROM z_view;
CREATE VIEW second.far AS SELECT * FROM `odd ``name`.zero WHERE x IN (SELECT id FROM second.parent);
CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(50));
DELIMITER //
CREATE TRIGGER zero_in BEFORE INSERT ON zero FOR EACH ROW BEGIN INSERT INTO log (what) VALUES (CONCAT('in; "', NEW.id, '"')); SET NEW.x = NEW.x + 100; END//
CREATE TRIGGER zero_in2 BEFORE INSERT ON zero FOR EACH ROW FOLLOWS zero_in INSERT INTO log (what) VALUES ('after')//
CREATE PROCEDURE `do it`(IN n INT, OUT total INT) COMMENT 'a "comment"' BEGIN SELECT COUNT(*) + n INTO total FROM zero; END//
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2020-01-01 00:00:00' DISABLE DO DELETE FROM log WHERE id < 0//
CREATE EVENT eager ON SCHEDULE EVERY 1 SECOND DO INSERT INTO second.parent VALUES (NULL)//
DELIMITER ;
CREATE ROLE reader;
GRANT SELECT ON `odd ``name`.* TO reader;
CREATE USER `o'brien "x"`@'%' IDENTIFIED BY 'secret' WITH MAX_USER_CONNECTIONS 4;
GRANT reader TO `o'brien "x"`@'%';
SET DEFAULT ROLE reader FOR `o'brien "x"`@'%';
GRANT INSERT (what) ON `odd ``name`.log TO `o'brien "x"`@'%';
CREATE USER locked@localhost IDENTIFIED VIA unix_socket ACCOUNT LOCK;
