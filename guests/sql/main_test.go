package main

import (
	"strings"
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

// ask calls sql_query with a statement, in a database that answers everything.
func ask(t *testing.T, statement string) hexdagtest.Result {
	t.Helper()
	host := hexdagtest.New(t)
	for _, op := range []string{"database.query", "database.describe_table"} {
		host.OnCall(op, func(hexdagtest.Request) hexdagtest.Reply {
			return hexdagtest.Reply{Value: `{"rows": [{"n": 9007199254740993}], "truncated": false}`}
		})
	}
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\r", `\r`, "\x00", `\u0000`).Replace(statement)
	return host.ToolCall(tools, `{"tool": "sql_query", "args": {"query": "`+quoted+`"}}`)
}

// TestStatements are calls of the port, with nothing of SQL left in them.
func TestStatements(t *testing.T) {
	for statement, args := range map[string]string{
		`SELECT * FROM orders`:                                             `{"table":"orders"}`,
		`select id , total from orders;`:                                   `{"columns":["id","total"],"table":"orders"}`,
		"SELECT id\n\tFROM orders\r\n WHERE id = 'A-1'":                    `{"columns":["id"],"table":"orders","where":{"id":"A-1"}}`,
		`SELECT * FROM "or""ders" WHERE "a/b~c" = 'it''s'`:                 `{"table":"or\"ders","where":{"a/b~c":"it's"}}`,
		`SELECT * FROM t WHERE a=1 AND b = -2.50 AND c=TRUE and d = false`: `{"table":"t","where":{"a":1,"b":-2.50,"c":true,"d":false}}`,
		`SELECT * FROM t WHERE n = 123456789012345678901234567890`:         `{"table":"t","where":{"n":123456789012345678901234567890}}`,
		`SELECT * FROM t ORDER BY a`:                                       `{"descending":false,"order_by":"a","table":"t"}`,
		`SELECT * FROM t ORDER BY a ASC LIMIT 5`:                           `{"descending":false,"limit":5,"order_by":"a","table":"t"}`,
		`SELECT * FROM t WHERE a = '' ORDER BY b DESC LIMIT 1;`:            `{"descending":true,"limit":1,"order_by":"b","table":"t","where":{"a":""}}`,
		`SELECT größe FROM maße`:                                           `{"columns":["größe"],"table":"maße"}`,
		`SELECT "select" FROM "from"`:                                      `{"columns":["select"],"table":"from"}`,
		`SELECT * FROM t WHERE a = '; DROP TABLE t; --'`:                   `{"table":"t","where":{"a":"; DROP TABLE t; --"}}`,
	} {
		got := ask(t, statement)
		if got.Verdict != "continue" || len(got.Calls) != 1 || got.Calls[0].Op != "database.query" || got.Calls[0].Args != args || got.Output != `{"rows":[{"n":9007199254740993}],"truncated":false}` {
			t.Errorf("%s: %+v", statement, got)
		}
	}
}

// TestRefused: what the port cannot do is no call, and the message says what there is.
func TestRefused(t *testing.T) {
	for statement, says := range map[string]string{
		``:                                      "SELECT is expected where the end is",
		`SELECT`:                                "a name is expected where the end is",
		`SELECT * FROM`:                         "a name is expected where the end is",
		`SELECT FROM t`:                         "a name is expected where FROM is",
		`SELECT a b FROM t`:                     "FROM is expected where b is",
		`SELECT count(*) FROM t`:                "there is no ( in it",
		`SELECT * FROM a, b`:                    "goes on with ,",
		`SELECT * FROM a JOIN b`:                "goes on with JOIN",
		`SELECT * FROM t WHERE a > 1`:           "there is no > in it",
		`SELECT * FROM t WHERE a = 1 OR b = 2`:  "goes on with OR",
		`SELECT * FROM t WHERE a = b`:           "a literal is expected where b is",
		`SELECT * FROM t WHERE a = NULL`:        "a literal is expected where NULL is",
		`SELECT * FROM t WHERE a = "x"`:         "a literal is expected where x is",
		`SELECT * FROM t WHERE a = 1 AND a = 2`: "names the column a twice",
		`SELECT * FROM t LIMIT 0`:               "LIMIT is followed by 0",
		`SELECT * FROM t LIMIT -1`:              "LIMIT is followed by -1",
		`SELECT * FROM t LIMIT 99999999999`:     "LIMIT is followed by 99999999999",
		`SELECT * FROM t LIMIT '5'`:             "LIMIT is followed by '5'",
		`SELECT * FROM t; SELECT * FROM u`:      "goes on with SELECT",
		`SELECT * FROM t -- all`:                "there are no comments",
		`SELECT * FROM t /* all */`:             "there are no comments",
		`SELECT * FROM t WHERE a = 'x`:          "a ' has no end",
		`SELECT * FROM t WHERE a = 1.`:          "a number is not one",
		`SELECT * FROM t WHERE a = 01`:          "a number is not one",
		`SELECT * FROM t WHERE a = 1.2.3`:       "a number is not one",
		`SELECT * FROM t WHERE a = 12abc`:       "a number is not one",
		"SELECT * FROM t \x00":                  "in it",
		`UPDATE t SET a = 1`:                    "SELECT is expected where UPDATE is",
		`DROP TABLE t`:                          "SELECT is expected where DROP is",
		`WITH x AS (SELECT 1) SELECT * FROM x`:  "in it",
		`SELECT * FROM t UNION SELECT * FROM u`: "goes on with UNION",
		`SELECT DISTINCT a FROM t`:              "a name is expected where DISTINCT is",
	} {
		got := ask(t, statement)
		if got.Verdict != "error" || got.Code() != "sql_syntax" || len(got.Calls) != 0 || !strings.Contains(got.Reason(), says) || !strings.Contains(got.Reason(), "nothing more: no joins") {
			t.Errorf("%s: %+v", statement, got)
		}
	}
}

func TestDescribe(t *testing.T) {
	host := hexdagtest.New(t)
	got := host.ToolCall(tools, `{"tool": "sql_describe", "args": {"table": "orders"}}`)
	if got.Verdict != "error" || got.Code() != "denied" || got.Calls[0].Op != "database.describe_table" || got.Calls[0].Args != `{"table":"orders"}` {
		t.Errorf("%+v", got)
	}
	host.OnCall("database.describe_table", func(hexdagtest.Request) hexdagtest.Reply {
		return hexdagtest.Reply{Status: hexdag.Retry, Code: "retry", RetryMilliseconds: 20}
	})
	if got = host.ToolCall(tools, `{"tool": "sql_describe", "args": {"table": "orders"}}`); got.Verdict != "retry_after" || got.RetryMilliseconds != 20 {
		t.Errorf("%+v", got)
	}
	if got = host.ToolCall(tools, `{"tool": "sql_drop", "args": {}}`); got.Verdict != "error" || got.Code() != "no_tool" {
		t.Errorf("%+v", got)
	}
}

// FuzzParse: any statement is read or refused, and what is read has a table.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`SELECT * FROM t`, `SELECT "a" FROM t WHERE a = 'b''c' AND d = -1.5 ORDER BY e DESC LIMIT 3;`, `SELECT '`, "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parse(text)
		if err == nil && (s.limit < 0 || len(s.where) > len(text) || !strings.Contains(strings.ToLower(text), "from")) {
			t.Errorf("%q is %+v", text, s)
		}
	})
}
