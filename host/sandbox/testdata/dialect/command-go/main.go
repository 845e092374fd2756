// The program of the test: it knows nothing of this host.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	var message map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&message); err != nil {
		fmt.Fprintln(os.Stderr, "no message:", err)
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "a line for the log")
	args, _ := message["args"].(map[string]any)
	switch args["do"] {
	case "fail":
		fmt.Fprintln(os.Stderr, "told to fail")
		os.Exit(3)
	case "flood":
		for {
			fmt.Println("0123456789 0123456789 0123456789 0123456789")
		}
	case "spin":
		for {
		}
	case "panic":
		panic("told to panic")
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"args": args, "argv": len(os.Args), "env": len(os.Environ())}); err != nil {
		os.Exit(1)
	}
}
