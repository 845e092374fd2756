package pgjournal

import (
	"fmt"
	"strings"
)

// statements are those on the tables of one prefix.
type statements struct {
	create, version                       string
	renew, leave, forget                  string
	insert, claim, wake, head, lock, find string
	runs, due, waiting                    string // all, or by what they wait for
	add, chunk, set, there                string
	chunks, last, cut, recount            string
	remove, putBlob, blob, sweep          string
	tables                                []string
}

// statementsFor writes the statements. A table's name cannot be a parameter; it was checked.
func statementsFor(table string) statements {
	in := func(text string) string { return strings.ReplaceAll(text, "PREFIX_", table+"_") }
	// A run's row, with whether it is free: it is running, and its host has not said for its TTL that it is there.
	const free = `(r.status = 'running' AND NOT EXISTS (SELECT FROM PREFIX_hosts AS h WHERE h.host = r.owner AND h.expires > clock_timestamp()))`
	const columns = `r.tenant, r.id, r.parent, r.pipeline, r.version, r.status, r.owner, r.epoch, r.begun, r.touched, r.entries, r.bytes, r.waits, ` + free
	// A run that goes on waits for nothing.
	const taken = `status = 'running', owner = $3::text, epoch = r.epoch + 1, touched = clock_timestamp(), waits = NULL, wait_keys = NULL, wait_until = NULL`
	const list = `
			SELECT ` + columns + ` FROM PREFIX_runs AS r
			WHERE r.tenant = $1::text AND ($2::text = '' OR r.pipeline = $2::text) AND ($3::text = '' OR r.status = $3::text)
				AND ($4::timestamptz IS NULL OR r.touched < $4::timestamptz) AND (NOT $5::bool OR ` + free + `)`
	const order = ` ORDER BY r.begun DESC, r.id DESC LIMIT $6::bigint`
	return statements{
		tables: []string{table + "_runs", table + "_chunks", table + "_blobs", table + "_hosts"},
		create: in(`
			CREATE TABLE IF NOT EXISTS PREFIX_runs (
				n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
				tenant text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, parent text COLLATE "C" NOT NULL,
				pipeline text COLLATE "C" NOT NULL, version text COLLATE "C" NOT NULL, status text COLLATE "C" NOT NULL, owner text COLLATE "C" NOT NULL,
				epoch bigint NOT NULL, begun timestamptz NOT NULL, touched timestamptz NOT NULL, entries bigint NOT NULL, bytes bigint NOT NULL,
				UNIQUE (tenant, id)) WITH (fillfactor = 70);
			CREATE INDEX IF NOT EXISTS PREFIX_runs_begun ON PREFIX_runs (tenant, begun DESC, id DESC);
			CREATE INDEX IF NOT EXISTS PREFIX_runs_running ON PREFIX_runs (tenant) WHERE status = 'running';
			-- Version 2: what suspended runs wait for.
			ALTER TABLE PREFIX_runs ADD COLUMN IF NOT EXISTS waits bytea, ADD COLUMN IF NOT EXISTS wait_keys text[] COLLATE "C", ADD COLUMN IF NOT EXISTS wait_until timestamptz;
			CREATE INDEX IF NOT EXISTS PREFIX_runs_suspended ON PREFIX_runs (tenant) WHERE status = 'suspended';
			CREATE INDEX IF NOT EXISTS PREFIX_runs_until ON PREFIX_runs (tenant, wait_until) WHERE wait_until IS NOT NULL;
			CREATE INDEX IF NOT EXISTS PREFIX_runs_keys ON PREFIX_runs USING gin (wait_keys) WITH (fastupdate = off) WHERE wait_keys IS NOT NULL; -- or who looks goes through what was added lately
			CREATE TABLE IF NOT EXISTS PREFIX_chunks (
				run bigint NOT NULL, first bigint NOT NULL, count bigint NOT NULL, epoch bigint NOT NULL, data bytea NOT NULL,
				PRIMARY KEY (run, first));
			ALTER TABLE PREFIX_chunks ALTER COLUMN data SET STORAGE EXTERNAL; -- what can be made shorter is compressed already
			CREATE TABLE IF NOT EXISTS PREFIX_blobs (
				tenant text COLLATE "C" NOT NULL, digest text COLLATE "C" NOT NULL, put timestamptz NOT NULL, data bytea NOT NULL,
				PRIMARY KEY (tenant, digest));
			CREATE TABLE IF NOT EXISTS PREFIX_hosts (host text COLLATE "C" PRIMARY KEY, expires timestamptz NOT NULL, patient timestamptz NOT NULL);
			COMMENT ON TABLE PREFIX_runs IS 'hexdag journal, version ` + fmt.Sprint(schemaVersion) + `'`),
		version: in(`SELECT to_regclass('PREFIX_runs') IS NOT NULL, obj_description(to_regclass('PREFIX_runs'), 'pg_class')`),
		// Whoever could not say so for a while, as nobody could where the database was away, lets the others say first that they are there.
		renew: in(`
			INSERT INTO PREFIX_hosts AS h (host, expires, patient)
			VALUES ($1::text, clock_timestamp() + $2::float8 * interval '1 second', '-infinity')
			ON CONFLICT (host) DO UPDATE SET expires = excluded.expires,
				patient = CASE WHEN h.expires > clock_timestamp() THEN h.patient ELSE excluded.expires END`),
		leave:  in(`DELETE FROM PREFIX_hosts WHERE host = $1::text`),
		forget: in(`DELETE FROM PREFIX_hosts WHERE expires < clock_timestamp() - interval '1 day'`),
		insert: in(`
			INSERT INTO PREFIX_runs (tenant, id, parent, pipeline, version, status, owner, epoch, begun, touched, entries, bytes)
			VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, 'running', $6::text, 1, $7::timestamptz, clock_timestamp(), 0, 0)
			ON CONFLICT DO NOTHING RETURNING touched`),
		// Who comes second waits for the first's commit, and then finds that the run is that one's. From a host that is gone takes who is there, and
		// was before.
		claim: in(`
			UPDATE PREFIX_runs AS r SET ` + taken + `
			WHERE r.tenant = $1::text AND r.id = $2::text AND (r.status = 'suspended' OR r.status = 'running' AND ($4::bool OR r.owner = $3::text OR ` + free + `
				AND EXISTS (SELECT FROM PREFIX_hosts AS h WHERE h.host = $3::text AND h.expires > clock_timestamp() AND h.patient <= clock_timestamp())))
			RETURNING r.epoch`),
		wake: in(`
			UPDATE PREFIX_runs AS r SET ` + taken + `
			WHERE r.tenant = $1::text AND r.id = $2::text AND r.status = 'suspended' AND r.epoch = $4::bigint RETURNING r.epoch`),
		head: in(`SELECT ` + columns + `, coalesce((SELECT h.expires FROM PREFIX_hosts AS h WHERE h.host = r.owner), '-infinity')
			FROM PREFIX_runs AS r WHERE r.tenant = $1::text AND r.id = $2::text`),
		lock: in(`SELECT n, epoch, status, entries, ` + free + `, owner FROM PREFIX_runs AS r WHERE r.tenant = $1::text AND r.id = $2::text FOR UPDATE`),
		find: in(`SELECT n FROM PREFIX_runs WHERE tenant = $1::text AND id = $2::text`),
		runs: in(list + order),
		due:  in(list + ` AND ($7::text = '' OR r.wait_keys @> ARRAY[$7::text]) AND r.status = 'suspended' AND r.wait_until IS NOT NULL AND r.wait_until <= $8::timestamptz` + order),
		// By the key alone: of tables that were not analyzed lately PostgreSQL would look through the tenant's runs.
		waiting: in(strings.Replace(list, `r.tenant = $1::text`, `r.tenant || '' = $1::text`, 1) + ` AND r.status = 'suspended' AND r.wait_keys IS NOT NULL AND r.wait_keys @> ARRAY[$7::text]` + order),
		// All chunks of all runs at once: the rows of the runs that may be written are locked in one order, so that two hosts do not
		// wait for each other, and what they say is looked at again once they are. It returns which runs were.
		add: in(`
			WITH given AS (
				SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $12::bytea[], $13::text[], $14::timestamptz[]) WITH ORDINALITY
				AS g (tenant, id, epoch, first, count, bytes, status, waits, keys, until, i)
			), locked AS (
				SELECT r.n, g.i, g.epoch, g.count, g.bytes, g.status, g.waits, g.keys, g.until FROM PREFIX_runs AS r JOIN given AS g ON r.tenant = g.tenant AND r.id = g.id
				WHERE r.epoch = g.epoch AND r.status = 'running' AND r.entries = g.first - 1
				ORDER BY r.n FOR UPDATE OF r
			), put AS (
				INSERT INTO PREFIX_chunks (run, first, count, epoch, data)
				SELECT l.n, c.first, c.count, l.epoch, c.data
				FROM unnest($8::bigint[], $9::bigint[], $10::bigint[], $11::bytea[]) AS c (i, first, count, data) JOIN locked AS l ON l.i = c.i
			)
			UPDATE PREFIX_runs AS r SET entries = r.entries + l.count, bytes = r.bytes + l.bytes, status = l.status, touched = clock_timestamp(),
				waits = l.waits, wait_keys = (SELECT array_agg(k) FROM json_array_elements_text(l.keys::json) AS k), wait_until = l.until
			FROM locked AS l WHERE r.n = l.n RETURNING l.i`),
		chunk: in(`INSERT INTO PREFIX_chunks (run, first, count, epoch, data) VALUES ($1, $2, $3, $4, $5)`),
		set:   in(`UPDATE PREFIX_runs SET entries = entries + $2, bytes = bytes + $3, status = $4, touched = clock_timestamp(), waits = $5, wait_keys = $6::text[], wait_until = $7 WHERE n = $1`),
		there: in(`SELECT EXISTS (SELECT FROM PREFIX_chunks WHERE run = $1 AND first = $2 AND count = $3 AND data = $4)`),
		chunks: in(`
			SELECT c.first, c.count, c.epoch, c.data FROM PREFIX_chunks AS c
			WHERE c.run = $1 AND c.first > $2 ORDER BY c.first LIMIT $3`),
		last: in(`
			SELECT c.first, c.count, c.epoch, c.data FROM PREFIX_chunks AS c JOIN PREFIX_runs AS r ON c.run = r.n
			WHERE r.tenant = $1::text AND r.id = $2::text ORDER BY c.first DESC LIMIT 1`),
		cut: in(`DELETE FROM PREFIX_chunks WHERE run = $1 AND first >= $2`),
		recount: in(`
			UPDATE PREFIX_runs SET touched = clock_timestamp(),
				entries = (SELECT coalesce(max(first + count - 1), 0) FROM PREFIX_chunks WHERE run = $1),
				bytes = (SELECT coalesce(sum(length(data)), 0) FROM PREFIX_chunks WHERE run = $1)
			WHERE n = $1`),
		remove:  in(`DELETE FROM PREFIX_runs WHERE n = $1`),
		putBlob: in(`INSERT INTO PREFIX_blobs VALUES ($1::text, $2::text, clock_timestamp(), $3::bytea) ON CONFLICT (tenant, digest) DO UPDATE SET put = excluded.put`),
		blob:    in(`SELECT data FROM PREFIX_blobs WHERE tenant = $1::text AND digest = $2::text`),
		sweep:   in(`DELETE FROM PREFIX_blobs WHERE tenant = $1::text AND put < $2::timestamptz AND digest <> ALL ($3::text[])`),
	}
}
