// A small web server: GET /?name=World answers with a greeting.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"runtime"
)

const version = "1.0.0"

func greeting(name string) string {
	if name == "" {
		name = "World"
	}
	return fmt.Sprintf("Hello, %s! (%s/%s)\n", name, runtime.GOOS, runtime.GOARCH)
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		fmt.Println("greet", version)
		return
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, greeting(r.URL.Query().Get("name")))
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}
