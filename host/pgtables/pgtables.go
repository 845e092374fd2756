// Package pgtables connects to PostgreSQL for stores that have tables of their own there.
package pgtables

import (
	"errors"
	"regexp"

	"github.com/jackc/pgx/v5/pgxpool"
)

var name = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// Fix is what to do about an error of Config.
const Fix = "set url to postgres://user:password@host/database"

// Config returns what a pool is made of. table is what the tables' names begin with; the database's log has application as
// the client's name. What was committed is on the disk, and a statement sees what was committed before it. An error tells nothing of the password.
func Config(url, table, application string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	switch {
	case url == "":
		return nil, errors.New("url is not set")
	case err != nil:
		return nil, errors.New("url is not one of PostgreSQL's") // what pgx says may hold the password
	case !name.MatchString(table):
		return nil, errors.New("table has to be at most 40 lower-case letters, digits and _")
	}
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	config.ConnConfig.RuntimeParams["default_transaction_isolation"] = "read committed"
	config.ConnConfig.RuntimeParams["application_name"] = application
	return config, nil
}
