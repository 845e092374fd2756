package pgdb

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

// Config says where the database is and sets the limits.
type Config struct {
	// URL is postgres://user:password@host:port/database, with sslmode and other
	// parameters of a connection behind a question mark.
	URL         string  `json:"url"`
	Schema      string  `json:"schema"`      // whose tables are offered; public if empty
	ReadOnly    bool    `json:"read_only"`   // which the server enforces
	MaxRows     int     `json:"max_rows"`    // of one answer; 1000 if 0
	MaxBytes    int     `json:"max_bytes"`   // of one answer, and of one value; 1 MiB if 0
	Timeout     float64 `json:"timeout"`     // of one call, in seconds; 30 if 0, at most 3600
	Connections int     `json:"connections"` // at once; 4 if 0, at most 100
}

const (
	defaultTimeout     = 30
	maxTimeout         = 3600
	defaultConnections = 4
	maxConnections     = 100
)

// FromConfig decodes a configuration. The keys are those of Config; any other is an error.
func FromConfig(config map[string]any) (Config, error) {
	var cfg Config
	if err := kernel.FromValue(config, &cfg); err != nil {
		return cfg, configError("it takes url, schema, read_only, max_rows, max_bytes, timeout, connections", "%s", kernel.Quote(err.Error()))
	}
	return cfg, nil
}

func configError(fix, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the postgres database's configuration: " + fmt.Sprintf(format, args...), Fix: fix}
}

// parameters are those that a URL may have: none that moves it to another host, or runs
// or reads what the URL does not show. own are those of a URL that is not the operator's.
var (
	parameters = []string{"sslmode", "sslrootcert", "sslcert", "sslkey", "application_name", "connect_timeout", "channel_binding", "host"}
	own        = []string{"sslmode", "application_name", "connect_timeout", "channel_binding"}
)

// CheckOwn refuses a URL that is not the operator's and takes anything of the operator's:
// a file, a socket, or the password that the environment has for others.
func (cfg Config) CheckOwn() error {
	u, err := cfg.parse()
	if err != nil {
		return err
	}
	for name := range u.Query() {
		if !slices.Contains(own, name) {
			return configError("remove it, or have the operator configure the port", "a pipeline's url may not have the parameter %s", kernel.Quote(name))
		}
	}
	if _, set := u.User.Password(); !set || u.Host == "" {
		return configError("write postgres://user:password@host:port/database", "a pipeline's url names its host, user and password")
	}
	return checkDialed(cfg.URL, u)
}

// checkDialed holds what is dialed to what a URL says by the rules of URLs: the client's own
// reading of it, which is another, may find more hosts in it, or a socket.
func checkDialed(text string, u *url.URL) error {
	const fix = "write postgres://user:password@host:port/database"
	dialed, err := pgconn.ParseConfig(text)
	if err != nil {
		return configError(fix, "url cannot be read") // its error would show a password
	}
	hosts := []*pgconn.FallbackConfig{{Host: dialed.Host, Port: dialed.Port}}
	for _, h := range append(hosts, dialed.Fallbacks...) {
		if h.Host != u.Hostname() || strconv.Itoa(int(h.Port)) != cmp.Or(u.Port(), "5432") {
			return configError(fix, "a pipeline's url names one host")
		}
	}
	return nil
}

func (cfg Config) parse() (*url.URL, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, configError("write postgres://user:password@host:port/database", "url is missing, or cannot be read") // its error would show a password
	}
	for name := range u.Query() {
		if !slices.Contains(parameters, name) {
			return nil, configError("remove it", "url has the parameter %s", kernel.Quote(name))
		}
	}
	if u.Host != "" && u.Query().Has("host") {
		return nil, configError("name one", "url has two hosts")
	}
	return u, nil
}

// Pool returns the configuration of the connections, also for who keeps something else in
// Postgres than tables of the port. All that holds for every statement is said to the server when a
// connection begins.
func (cfg Config) Pool() (*pgxpool.Config, error) {
	if _, err := cfg.parse(); err != nil {
		return nil, err
	}
	switch {
	case cfg.MaxRows < 0 || cfg.MaxBytes < 0:
		return nil, configError("", "max_rows and max_bytes are at least 1")
	case !(cfg.Timeout >= 0 && cfg.Timeout <= maxTimeout):
		return nil, configError("", "timeout is at most %d seconds", maxTimeout)
	case cfg.Connections < 0 || cfg.Connections > maxConnections:
		return nil, configError("", "connections is at most %d", maxConnections)
	}
	pool, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, configError("check its port and the parameters behind the question mark", "url cannot be used")
	}
	pool.MaxConns = int32(cfg.Connections)
	if cfg.Connections == 0 {
		pool.MaxConns = defaultConnections
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	timeout := strconv.Itoa(max(1, int(cfg.Timeout*1000))) // milliseconds
	session := map[string]string{
		"statement_timeout": timeout, "lock_timeout": timeout, "idle_in_transaction_session_timeout": timeout,
		"datestyle": "ISO", "timezone": "UTC", "intervalstyle": "iso_8601", "bytea_output": "hex",
		"standard_conforming_strings": "on", "client_encoding": "UTF8",
	}
	if cfg.ReadOnly {
		session["default_transaction_read_only"] = "on"
	}
	for name, value := range session {
		pool.ConnConfig.RuntimeParams[name] = value
	}
	pool.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // one round trip, and no prepared statements, which poolers lose
	return pool, nil
}

func (cfg Config) limits() driver.Limits {
	return driver.Limits{ReadOnly: cfg.ReadOnly, MaxRows: cfg.MaxRows, MaxBytes: cfg.MaxBytes}.OrDefault()
}
