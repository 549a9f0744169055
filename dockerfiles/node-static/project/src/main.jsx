import React from "react";
import { createRoot } from "react-dom/client";
import { Clock } from "./Clock.jsx";

const zones = ["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Africa/Nairobi"];

createRoot(document.getElementById("root")).render(
  <React.StrictMode>
    <h1>Clock</h1>
    {zones.map((zone) => (
      <Clock key={zone} zone={zone} />
    ))}
  </React.StrictMode>,
);
