// Command table reads the output of go test -bench and prints the median of each
// benchmark's runs as a table in Markdown.
package main

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	var order []string
	values := map[string]map[string][]float64{}
	suffix := regexp.MustCompile(`-\d+$`)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := suffix.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), "")
		if values[name] == nil {
			order, values[name] = append(order, name), map[string][]float64{}
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				values[name][fields[i+1]] = append(values[name][fields[i+1]], v)
			}
		}
	}
	if err := lines.Err(); err != nil || len(order) == 0 {
		fmt.Fprintln(os.Stderr, "table: no benchmark on stdin", err)
		os.Exit(1)
	}
	fmt.Println("| benchmark | median (minimum) | other |\n|---|---|---|")
	for _, name := range order {
		var rest []string
		for unit, v := range values[name] {
			if unit != "ns/op" {
				rest = append(rest, fmt.Sprintf("%g %s", median(v), unit))
			}
		}
		slices.Sort(rest)
		time := "–"
		if v := values[name]["ns/op"]; len(v) > 0 {
			time = fmt.Sprintf("%s (%s)", nanoseconds(median(v)), nanoseconds(slices.Min(v)))
		}
		fmt.Printf("| %s | %s | %s |\n", name, time, strings.Join(rest, ", "))
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func nanoseconds(ns float64) string {
	switch {
	case ns >= 1e6:
		return fmt.Sprintf("%.3g ms", ns/1e6)
	case ns >= 1e3:
		return fmt.Sprintf("%.3g us", ns/1e3)
	}
	return fmt.Sprintf("%.3g ns", ns)
}
