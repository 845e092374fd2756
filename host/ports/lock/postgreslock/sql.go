package postgreslock

import "strings"

// statements are those on one table.
type statements struct{ create, issuer, acquire, renew, release, holders, next, sweep string }

// statementsFor writes the statements. A table's name cannot be a parameter; it was checked.
func statementsFor(table string) statements {
	in := func(text string) string { return strings.ReplaceAll(text, "TABLE_NAME", table) }
	return statements{
		create: in(`
			CREATE TABLE IF NOT EXISTS TABLE_NAME (
				tenant text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL, permit int NOT NULL, permits int NOT NULL,
				id text NOT NULL, note text NOT NULL, fence bigint NOT NULL, expires timestamptz NOT NULL,
				PRIMARY KEY (tenant, name, permit));
			CREATE SEQUENCE IF NOT EXISTS TABLE_NAME_fence CACHE 1`),
		// The sequence's counter is of this database on this server.
		issuer: in(`SELECT 'postgres-' || system_identifier || '-' || 'TABLE_NAME_fence'::regclass::oid FROM pg_control_system()`),
		// A permit is free that has no row, or one whose time is up. Who comes second to it waits for the first's commit, and
		// then finds that it is not free. The clock is read after that.
		acquire: in(`
			INSERT INTO TABLE_NAME AS l (tenant, name, permit, permits, id, note, fence, expires)
			SELECT $1::text, $2::text, p, $3::int, $4::text, $5::text, nextval('TABLE_NAME_fence'), clock_timestamp() + $6::float8 * interval '1 second'
			FROM (
				SELECT p FROM generate_series(0, $3::int - 1) p
				WHERE NOT EXISTS (SELECT 1 FROM TABLE_NAME h WHERE h.tenant = $1 AND h.name = $2 AND h.permit = p AND h.expires > clock_timestamp())
				ORDER BY CASE WHEN $3::int = 1 THEN 0 ELSE random() END LIMIT 1) free
			WHERE NOT EXISTS (SELECT 1 FROM TABLE_NAME h WHERE h.tenant = $1 AND h.name = $2 AND h.permits <> $3::int AND h.expires > clock_timestamp())
			ON CONFLICT (tenant, name, permit) DO UPDATE
			SET permits = excluded.permits, id = excluded.id, note = excluded.note, fence = nextval('TABLE_NAME_fence'), expires = clock_timestamp() + $6::float8 * interval '1 second'
			WHERE l.expires <= clock_timestamp()
			RETURNING permit, fence`),
		renew: in(`
			UPDATE TABLE_NAME SET expires = clock_timestamp() + $5::float8 * interval '1 second'
			WHERE tenant = $1 AND name = $2 AND permit = $3 AND id = $4 AND expires > clock_timestamp()`),
		// The row stays: an INSERT draws its fence before it knows that the row is not there, and could come after one that drew
		// a later fence, held the lock and is gone. Where there is a row, the fence is drawn once it is locked.
		release: in(`
			UPDATE TABLE_NAME SET expires = clock_timestamp()
			WHERE tenant = $1 AND name = $2 AND permit = $3 AND id = $4 AND expires > clock_timestamp()`),
		holders: in(`
			SELECT name, fence, note, permits, extract(epoch FROM expires - clock_timestamp())::float8 FROM TABLE_NAME
			WHERE tenant = $1 AND (name = $2 OR $3) AND expires > clock_timestamp() ORDER BY name, fence LIMIT $4`),
		// What is known where nothing was free: the number of permits of those who hold some, and when the first ends.
		next: in(`
			SELECT coalesce(min(permits), 0), coalesce(extract(epoch FROM min(expires) - clock_timestamp()), 0)::float8 FROM TABLE_NAME
			WHERE tenant = $1 AND name = $2 AND expires > clock_timestamp()`),
		sweep: in(`DELETE FROM TABLE_NAME WHERE expires < clock_timestamp() - interval '1 hour'`),
	}
}
