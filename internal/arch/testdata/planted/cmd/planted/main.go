// Command planted has a relative of a permitted module.
package main

import (
	_ "example.org/planted/node"

	_ "github.com/spf13/cobra"
	_ "github.com/spf13x/cobra" // want: vendor
)

func main() {}
