// Package docs is the documentation for users; README.md is its door. Its tests
// hold the pages to the product: what they show of Go and TypeScript is source
// that is compiled and run elsewhere, what they show of a terminal is run against
// a cluster and its output compared, and the links and tests they name are there.
//
//	go test ./docs            the pages are true
//	go test ./docs -update    write what the commands print now into the pages
package docs
