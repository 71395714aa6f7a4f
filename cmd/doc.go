// Package cmd is the command line: what people type, and what scripts rely on.
//
//	arguments ──▶ cobra tree ──▶ one call of the Go client ──▶ stdout: the answer
//	                  │                     │                  stderr: what went wrong
//	                  └── usage: 2          └── typed error ──▶ exit code 1, 4, 5 or 6
//
// A command is a file: set, counter, register and blob hold values, cluster
// looks at nodes, serve and dev run them, bench measures them. Each prints for
// people (text) or for programs (json, one line, one documented object).
//
// Exit codes tell a script what to do next: 4 is worth trying again, 5 is worth
// trying again under the same operation id, 6 never is.
package cmd
