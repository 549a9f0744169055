package org.example.trains;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** A service that says how to get from here to there. */
public final class Main {
    static final String VERSION = "1.1.1";

    public static void main(String[] words) throws IOException {
        Network network = new Network();
        network.add(Line.parse("U1", List.of("North 4 Market", "Market 3 Museum", "Museum 9 South")));
        network.add(Line.parse("U2", List.of("West 6 Market", "Market 5 Harbour", "Harbour 2 South")));
        if (words.length == 2) {
            System.out.println(answer(network, words[0], words[1]));
            return;
        }
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 0);
        server.createContext("/", exchange -> handle(network, exchange));
        System.out.println("trains " + VERSION + " listens on " + server.getAddress());
        server.start();
    }

    private static String answer(Network network, String from, String to) {
        return network.fastest(from, to)
                .map(route -> String.join(" - ", route.stations()) + ", " + route.minutes() + " minutes")
                .orElse("there is no way");
    }

    private static void handle(Network network, HttpExchange exchange) throws IOException {
        String[] parts = exchange.getRequestURI().getPath().split("/");
        String text = parts.length == 3 ? answer(network, parts[1], parts[2]) : "ask for /FROM/TO";
        byte[] body = (text + "\n").getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(parts.length == 3 ? 200 : 404, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
