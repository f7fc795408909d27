// The components of the packed package, rendered in Node by modules.

import * as react from "react";
import * as server from "react-dom/server";
import * as client from "syncline";
import * as parts from "syncline/react";
import page from "./page.cjs";

page.render(react, server, client, parts);
console.log("rendered by modules: ok");
