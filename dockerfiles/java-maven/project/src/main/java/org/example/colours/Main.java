package org.example.colours;

import com.google.gson.GsonBuilder;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/** A service that tells whether a text can be read. */
public final class Main {
    public static void main(String[] words) throws IOException {
        if (words.length == 2) {
            System.out.println(answer(words[0], words[1]));
            return;
        }
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 0);
        server.createContext("/", exchange -> {
            String[] parts = exchange.getRequestURI().getPath().split("/");
            byte[] body = (parts.length == 3 ? answer(parts[1], parts[2]) : "{}").getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Content-Type", "application/json");
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }

    static String answer(String text, String background) {
        Colour front = Colour.parse(text), back = Colour.parse(background);
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("text", front.toString());
        found.put("background", back.toString());
        found.put("contrast", Math.round(front.contrast(back) * 100) / 100.0);
        return new GsonBuilder().disableHtmlEscaping().create().toJson(found);
    }
}
