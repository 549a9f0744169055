// Command linkd is a service that makes links short.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"

	"example.org/linkd/internal/store"
	"example.org/linkd/internal/web"
)

const version = "0.4.2"

func main() {
	address := flag.String("listen", ":8080", "address to listen on")
	show := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if *show {
		fmt.Println("linkd", version)
		return
	}
	log.Printf("linkd %s listens on %s", version, *address)
	log.Fatal(http.ListenAndServe(*address, web.Handler(&store.Store{})))
}
