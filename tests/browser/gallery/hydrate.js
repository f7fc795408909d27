// Takes over what the server rendered.
import * as react from "react";
import { hydrateRoot } from "react-dom/client";
import * as parts from "syncline/react";
import "syncline/react/styles.css";
import { app } from "./app.js";
import { person } from "./people.js";

const root = document.getElementById("gallery");
globalThis.rendered = [...root.querySelectorAll("*")];
hydrateRoot(root, app(react, parts, person("ada")));
document.documentElement.dataset.settled = "";
