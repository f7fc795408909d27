/** What the tests use of it is what pages have. */
declare module "ws" {
  const Socket: typeof WebSocket;
  export default Socket;
}
