/** `syncline/react`: hooks and components around a client. The styles are in `syncline/react/styles.css`. */
export { SynclineProvider, useClient, useLocale, type PartialLabels, type SynclineProviderProps } from "./context.js";
export { useSelected, useStore } from "./store.js";
export { english, type Labels, type LabelsOf } from "./labels.js";
export { type Change } from "./changes.js";

export { useComments, useDocument, useLikes, usePost, useUndo, type DocumentOptions, type Used } from "./hooks/useDocuments.js";
export { useConnectionStatus, type ConnectionOptions, type UsedConnection } from "./hooks/useConnectionStatus.js";
export { useRefused, useSyncStatus, type UsedRefused } from "./hooks/useSyncStatus.js";
export { useOptimisticUpdate, type Update, type UpdatePhase, type UsedUpdate } from "./hooks/useOptimisticUpdate.js";
export { useRealtimeUpdates, type RealtimeOptions, type RealtimeUpdate, type UsedUpdates } from "./hooks/useRealtimeUpdates.js";
export { useBackgroundSync, type BackgroundOptions, type UsedBackgroundSync } from "./hooks/useBackgroundSync.js";
export { useWebSocket, type AppMessage, type UsedWebSocket } from "./hooks/useWebSocket.js";
export { usePresence, useSessionParticipants, type Participant, type PresenceOptions, type UsedPresence } from "./hooks/usePresence.js";
export { useTypingIndicators, type UsedTyping } from "./hooks/useTypingIndicators.js";
export { useCursors, type TextPlace, type UsedCursors } from "./hooks/useCursors.js";
export { useStreamingResponse, type UsedStream } from "./hooks/useStreamingResponse.js";
export { useFeed } from "./hooks/useFeed.js";

export { ConnectionStatus, type ConnectionStatusProps } from "./components/ConnectionStatus.js";
export { RealTimeComments, type RealTimeCommentsProps } from "./components/RealTimeComments.js";
export { LikeButton, defaultReactions, type LikeButtonProps } from "./components/LikeButton.js";
export { TypingIndicators, type TypingIndicatorsProps } from "./components/TypingIndicators.js";
export { ParticipantsList, type ParticipantsListProps } from "./components/ParticipantsList.js";
export { StreamingResponse, type StreamingResponseProps } from "./components/StreamingResponse.js";
export { CollaborativeText, type CollaborativeTextProps } from "./components/CollaborativeText.js";
export { RefusalToasts, type RefusalToastsProps } from "./components/RefusalToasts.js";
