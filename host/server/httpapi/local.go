package httpapi

import (
	"net"
	"net/http"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// local refuses what web pages of elsewhere have a browser on this machine ask: nobody shows a token here. A page whose name was made to
// point here names itself as the host; another is of another origin.
func local(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if ip := net.ParseIP(strings.Trim(host, "[]")); !strings.EqualFold(host, "localhost") && (ip == nil || !ip.IsLoopback()) {
			writeProblem(w, http.StatusForbidden, &kernel.Error{Code: kernel.CodeDenied, What: "the request is for the host " + kernel.Quote(r.Host), Why: "this server is this machine's alone", Fix: "call it at 127.0.0.1 or localhost"})
			return
		}
		if err := cross.Check(r); err != nil || r.Header.Get("Origin") != "" && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
			writeProblem(w, http.StatusForbidden, &kernel.Error{Code: kernel.CodeDenied, What: "the request is of a web page of elsewhere", Why: "this server takes none of those", Fix: "set server.tokens, and show one"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
