// ShareDB with its defaults and its store in memory, set up as its documentation does.
import http from "node:http";
import WebSocketJSONStream from "@teamwork/websocket-json-stream";
import textUnicode from "ot-text-unicode";
import ShareDB from "sharedb";
import { WebSocketServer } from "ws";

ShareDB.types.register(textUnicode.type);
const backend = new ShareDB();
const server = http.createServer();
const sockets = new WebSocketServer({ server });
sockets.on("connection", (socket) => backend.listen(new WebSocketJSONStream(socket)));
server.listen(Number(process.env.PORT), process.env.HOST);
